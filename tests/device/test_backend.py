"""What every device backend does: one suite, run on each of them.

The hardware backend runs over the simulator's pyxrt in real time, which stands for XRT's. The
processor executes numpy, or C++ where there is a compiler.
"""

from __future__ import annotations

import gc
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from support.processor import Processor
from support.small_device import ADD, COSTS, make_tiles

from harness.config.device import DEVICES, ClockKind, Faults, Hardware, Hazards, Simulator
from harness.config.strategy import Buffers, Strategy
from harness.device.backend import MONOTONIC, VIRTUAL, Backend, Capabilities, Session, Submission
from harness.device.clock import host_now_ns
from harness.device.open import open_backend
from harness.device.xrt import hardware
from harness.device.xrt.files import columns_of
from harness.device.xrt.open_devices import OpenDevices
from harness.errors import DeviceCallError, DeviceError, DeviceTimeoutError, RequestError
from harness.execution.executor import Executor
from harness.execution.verify import Checker
from harness.inputs.chain import Chain
from harness.inputs.generate import (
    MOST_DISTINCT_BYTES,
    PRIMES,
    distinct_tiles,
    make_chain_tiles,
)
from harness.inputs.tiles import Tiles
from harness.kernel import load_kernel
from harness.sim import pyxrt
from harness.sim.clock import WallClock
from harness.sim.device import plug
from harness.sim.kernel_model import model_of
from harness.sim.machine import Machine

EXEC_NS = 2_000_000
"""Long enough that a run is still in flight at the first look, in real time too."""
OVER_PYXRT = ("simulator in virtual time", "simulator in real time", "hardware")
CPU = ("cpu with numpy", "cpu with C++")
KINDS = (*OVER_PYXRT, *CPU)
HANG = {"faults": Faults(hang=[0]), "watchdog_ns": 0}


class Opened:
    """A backend of one kind and what it needs here. `machine`: what is behind it."""

    def __init__(self, kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.kind = kind
        self._folder = folder
        self._monkeypatch = monkeypatch
        self.machine: Any = Processor(monkeypatch) if kind in CPU else None

    def __call__(self, **costs: Any) -> Backend:
        if self.kind in CPU:
            costs = {"exec_ns": {"add": EXEC_NS}, **costs}
            return self.machine.open(self.kind == "cpu with C++", **costs)
        profile = Simulator(**{**COSTS, "exec_ns": {"add": EXEC_NS}, **costs})
        if self.kind != "hardware":
            clock = ClockKind.virtual if "virtual" in self.kind else ClockKind.wall
            backend = open_backend(replace(profile, clock=clock), ADD)
            self.machine = backend.device._machine  # type: ignore[attr-defined]
            return backend
        xclbin = self._folder / "add.xclbin"
        xclbin.write_bytes(b"the simulator knows it by its name")
        np.arange(4, dtype=np.uint32).tofile(self._folder / "add.insts.bin")
        models = {str(xclbin): model_of(ADD, EXEC_NS)}
        wall = replace(profile, clock=ClockKind.wall)
        self.machine = Machine(wall, models, WallClock(time.perf_counter_ns, time.sleep))
        plug(self.machine)
        self._monkeypatch.setitem(sys.modules, "pyxrt", pyxrt)
        self._monkeypatch.setattr(hardware, "check_names", lambda device: None)
        return hardware.open_backend(Hardware(kernels_dir=str(self._folder)), devices=OpenDevices())


@pytest.fixture(params=KINDS)
def opened(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Opened]:
    opened = Opened(request.param, tmp_path, monkeypatch)
    yield opened
    if request.param in CPU:
        opened.machine.end()


@pytest.fixture(params=OVER_PYXRT)
def over_pyxrt(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Opened:
    return Opened(request.param, tmp_path, monkeypatch)


def open_one(
    backend: Backend, batch: int = 1, timeout_ms: int = 5_000
) -> tuple[Session, Submission, Tiles]:
    """A session on one column, and an allocated submission of `batch` tiles."""
    session = backend.open_session(ADD, 1, timeout_ms)
    slot = session.slot(0, batch, [batch])
    slot.allocate()
    return session, slot.submissions[batch], make_tiles(ADD, 7)


def run_one(submission: Submission, tiles: Tiles, first: int, count: int = 1) -> None:
    submission.poison(~tiles.expect(first, count))
    submission.stage(tiles.batches(count)(first))
    submission.launch()
    submission.wait(1)
    submission.collect()
    np.testing.assert_array_equal(submission.outputs, tiles.expect(first, count))


def test_every_backend_of_the_registry_is_tested_here() -> None:
    assert {kind.split()[0] for kind in KINDS} == set(DEVICES)


def test_the_settings_of_a_device_name_its_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Simulator, "backend", "harness.device.absent")
    with pytest.raises(ModuleNotFoundError, match="absent"):
        open_backend(Simulator(**COSTS), ADD)


def test_capabilities(opened: Opened) -> None:
    backend = opened()
    simulated = "simulator" in opened.kind
    assert backend.capabilities == Capabilities(
        clock=VIRTUAL if "virtual" in opened.kind else MONOTONIC,
        columns=4,
        timestamps=opened.kind != "hardware",
        hazards=simulated,
        batches=True,
    )
    if simulated:
        assert not opened(hazards=Hazards.off).capabilities.hazards


def test_a_tile_goes_in_and_comes_out(opened: Opened) -> None:
    backend = opened()
    session, submission, tiles = open_one(backend)
    for first in range(3):
        run_one(submission, tiles, first)
    assert (session.spec, session.columns, session.allocations) == (ADD, 1, 2)
    assert backend.take_hazards() == []


@pytest.mark.parametrize("count", [2, 30])
def test_a_batch(opened: Opened, count: int) -> None:
    _, submission, tiles = open_one(opened(exec_ns={"add": 1000}), count)
    for first in range(2):
        run_one(submission, tiles, first, count)


def test_a_wait_passes_time_only_when_there_is_nothing_to_see(opened: Opened) -> None:
    backend = opened()
    _, submission, tiles = open_one(backend)
    submission.stage(tiles.batches(1)(0))
    # Before the launch: in real time, the run may have ended when the launch returns.
    launch_ns = backend.clock.now_ns
    submission.launch()
    begin_ns = backend.clock.now_ns
    if backend.capabilities.clock == VIRTUAL:
        with pytest.raises(DeviceTimeoutError, match=r"device\.timeout_ms=5000"):
            submission.wait(0)
        assert backend.clock.now_ns - begin_ns < EXEC_NS, "0 looks once"
    submission.wait(1)
    waited_ns = backend.clock.now_ns - begin_ns
    assert backend.clock.now_ns - launch_ns >= EXEC_NS
    if backend.capabilities.clock == VIRTUAL:
        assert waited_ns == EXEC_NS + COSTS["completion_ns"], "exact: looks cost nothing"
        submission.wait(1)
        assert backend.clock.now_ns - begin_ns == waited_ns


def test_a_run_that_does_not_end_in_time(opened: Opened) -> None:
    """It is in flight: the slot is kept, with all that it uses."""
    backend = opened(**HANG)
    session = backend.open_session(ADD, 1, 20)
    slot = session.slot(0, 1, [1])
    slot.allocate()
    submission, tiles = slot.submissions[1], make_tiles(ADD, 1)
    submission.stage(tiles.batches(1)(0))
    submission.launch()
    begin_ns = backend.clock.now_ns
    with pytest.raises(
        DeviceTimeoutError, match=r"add: no completion within device\.timeout_ms=20"
    ):
        submission.wait(1)
    taken_ns = backend.clock.now_ns - begin_ns
    assert taken_ns >= 20_000_000
    if backend.capabilities.clock == VIRTUAL:
        assert taken_ns == 20_000_000
    slot.keep()
    assert slot.close(), "kept"
    del submission, slot, session
    assert not opened.machine.aborted


@pytest.mark.parametrize(
    ("faults", "said"),
    [
        ({"error": [0]}, r"ERT_CMD_STATE_ERROR \(the firmware reports that the kernel failed\)"),
        ({"abort": [0]}, "ERT_CMD_STATE_ABORT"),
    ],
)
def test_a_run_that_ends_in_another_state(opened: Opened, faults: Any, said: str) -> None:
    _, submission, tiles = open_one(opened(faults=Faults(**faults)))
    submission.stage(tiles.batches(1)(0))
    submission.launch()
    if opened.kind in CPU:  # a thread that fails has an exception, not a state of XRT
        said = r"add: the kernel failed \((ValueError|SystemExit): of a test\)"
    with pytest.raises(DeviceError, match=said) as raised:
        submission.wait(1)
    assert not isinstance(raised.value, DeviceTimeoutError | DeviceCallError), "it has ended"
    assert not opened.machine.aborted


def test_the_first_to_end_of_several(opened: Opened) -> None:
    """Of two columns, that which was launched first, though it is not the first in the list."""
    backend = opened()
    session, tiles = backend.open_session(ADD, 2, 5_000), make_tiles(ADD, 2)
    slots = [session.slot(column, 1, [1]) for column in range(2)]
    for slot in slots:
        slot.allocate()
        slot.submissions[1].stage(tiles.batches(1)(0))
    late, early = (slot.submissions[1] for slot in slots)
    early.launch()
    early.wait(1)
    late.launch()
    assert backend.next_ended([late, early], session.timeout_ns) == 1
    assert backend.next_ended([late], session.timeout_ns) == 0
    late.wait(1)


def test_none_of_several_ends_in_time(opened: Opened) -> None:
    backend = opened(faults=Faults(hang=[0, 1]), watchdog_ns=0)
    session, tiles = backend.open_session(ADD, 2, 5_000), make_tiles(ADD, 2)
    slots = [session.slot(column, 1, [1]) for column in range(2)]
    for slot in slots:
        slot.allocate()
        slot.submissions[1].stage(tiles.batches(1)(0))
        slot.submissions[1].launch()
    assert backend.next_ended([slot.submissions[1] for slot in slots], 1_000_000) is None
    for slot in slots:
        slot.keep()


def test_timestamps(opened: Opened) -> None:
    backend = opened()
    _, submission, tiles = open_one(backend)
    backend.take_trace()
    run_one(submission, tiles, 0)
    trace = backend.take_trace()
    assert (trace is not None) == backend.capabilities.timestamps
    if trace is not None:
        ((is_load, _, column, start_ns, end_ns),) = trace.tolist()
        assert (is_load, column) == (0, 0)
        assert end_ns > start_ns if opened.kind in CPU else end_ns - start_ns == EXEC_NS


@pytest.mark.parametrize(
    "knobs",
    [{"buffers": Buffers.per_tile}, {"depth": 3, "columns": 2}, {"batch": 3, "depth": 2}],
    ids=["baseline", "pipelined", "stacked"],
)
def test_the_executor_on_it(opened: Opened, knobs: dict[str, Any]) -> None:
    strategy, tiles = Strategy(**{"buffers": Buffers.pooled, **knobs}), make_tiles(ADD, 10)
    backend = opened(exec_ns={"add": 1000})
    executor = Executor([backend.open_session(ADD, strategy.columns, 5_000)], strategy, 10)
    checker = Checker(tiles)
    marks = executor.run(tiles, checker, checker.poison)
    assert (checker.compared, checker.first_mismatch) == (10, "")
    assert (marks.clock, marks.kernels) == (backend.capabilities.clock, ("add",))
    executor.close()
    assert backend.take_hazards() == []
    assert opened.machine.contexts == []


CALLS = {
    "allocate": (pyxrt.bo, "map", 2),
    "stage": (pyxrt.bo, "sync", 1),
    "launch": (pyxrt.run, "start", 2),
    "wait": (pyxrt.run, "state", 2),
    "collect": (pyxrt.bo, "sync", 2),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("error", [RuntimeError("err=-5"), MemoryError("std::bad_alloc")], ids=repr)
def test_what_pyxrt_raises_is_the_devices(
    over_pyxrt: Opened, call: str, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = over_pyxrt()
    session = backend.open_session(ADD, 1, 5_000)
    owner, method, number = CALLS[call]
    right, calls = getattr(owner, method), []

    def fails(self: Any, *given: Any) -> Any:
        calls.append(method)
        if len(calls) == number:
            raise error
        return right(self, *given)

    monkeypatch.setattr(owner, method, fails)
    executor = Executor([session], Strategy(buffers=Buffers.per_tile), 3)
    with pytest.raises(DeviceCallError, match=str(error)) as raised:
        executor.run(make_tiles(ADD, 3), lambda first, outputs: None)
    assert raised.value.__cause__ is error
    executor.close()
    assert not over_pyxrt.machine.aborted, "no run in flight was dropped"


def test_a_run_whose_state_cannot_be_read_is_kept(
    over_pyxrt: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be in flight for all that is known."""
    backend = over_pyxrt()

    def fails(self: Any) -> Any:
        raise RuntimeError("err=-5")

    monkeypatch.setattr(pyxrt.run, "state", fails)
    executor = Executor([backend.open_session(ADD, 1, 5_000)], Strategy(depth=2), 4)
    with pytest.raises(DeviceCallError):
        executor.run(make_tiles(ADD, 4), lambda first, outputs: None)
    assert not executor.release()
    del executor
    gc.collect()
    assert not over_pyxrt.machine.aborted, "no run in flight was dropped"
    assert len(over_pyxrt.machine.contexts) == 1


def test_an_error_of_our_own_is_not_the_devices(opened: Opened) -> None:
    """And yet no run in flight is dropped."""
    backend = opened()
    executor = Executor([backend.open_session(ADD, 1, 5_000)], Strategy(depth=3), 9)

    def sink(first: int, outputs: np.ndarray) -> None:
        raise RecursionError("in a comparison")

    with pytest.raises(RecursionError):
        executor.run(make_tiles(ADD, 9), sink)
    executor.close()
    assert opened.machine.contexts == []
    assert not opened.machine.aborted


def test_a_session_that_cannot_be_had(opened: Opened) -> None:
    backend = opened(context_limit=1)
    with pytest.raises(
        DeviceError, match=r"opening add on 2 column\(s\).*no context or column is free"
    ):
        backend.open_session(ADD, 2, 5_000)
    with pytest.raises(RequestError, match=r"strategy\.columns=5"):
        backend.prepare(ADD, 5)


def test_a_device_is_opened_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One handle, and one lock, for as long as its owner lives."""
    opened, devices = list[int](), OpenDevices()

    def open_device(index: int) -> Any:
        opened.append(index)
        return object()

    assert devices.handle(0, open_device) is devices.handle(0, open_device)
    assert opened == [0]
    with pytest.raises(RequestError, match="runs an experiment on it"):
        OpenDevices().handle(0, open_device)


def test_the_hardware_path_imports_nothing_of_the_simulator() -> None:
    lines = (
        "import sys, types; sys.modules['pyxrt'] = types.SimpleNamespace()",
        "import harness.device.xrt.hardware, harness.device.open",
        "print([name for name in sys.modules if name.startswith('harness.sim')])",
    )
    command = [sys.executable, "-c", "; ".join(lines)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_pyxrt_has_what_the_protocol_names() -> None:
    from harness.device.xrt import pyxrt_api

    for protocol, owner in (
        (pyxrt_api.Bo, pyxrt.bo),
        (pyxrt_api.Run, pyxrt.run),
        (pyxrt_api.Runlist, pyxrt.runlist),
        (pyxrt_api.PyXrt, pyxrt),
        (pyxrt_api.Xclbin, pyxrt.xclbin),
        (pyxrt_api.XrtDevice, pyxrt.device),
        (pyxrt_api.XrtKernel, pyxrt.kernel),
    ):
        for name in vars(protocol):
            assert name.startswith("_") or hasattr(owner, name), f"{owner}.{name}"
    assert isinstance(pyxrt, ModuleType)


# The simulator's clock under looks and pauses


def test_a_program_that_polls_gets_on() -> None:
    """Unless it lets time pass itself, looks at one instant cost time."""
    backend = open_backend(Simulator(**COSTS), ADD)
    machine = backend.device._machine  # type: ignore[attr-defined]
    assert not machine.looks_cost_time
    machine.looks_cost_time = True
    session, submission, tiles = open_one(backend)
    submission.stage(tiles.batches(1)(0))
    submission.launch()
    begin_ns, run = machine.clock.now_ns, submission.run  # type: ignore[attr-defined]
    while int(run.state()) == 1:
        pass
    assert machine.clock.now_ns - begin_ns == 200, "107 ns, in looks of 100"
    assert session.columns == 1


def test_a_pause_ends_at_the_next_completion() -> None:
    machine = Machine(Simulator(**COSTS), {})
    machine.completions_ns = [30, 70]
    machine.pause(0, 100)
    assert machine.clock.now_ns == 30
    machine.clock.now_ns = 60
    machine.pause(10, 100)
    assert machine.clock.now_ns == 60, "one became visible after the look"
    machine.pause(60, 65)
    assert machine.clock.now_ns == 65, "no further than the limit"
    machine.pause(65, 100)
    machine.pause(70, 100)
    assert machine.clock.now_ns == 100, "nothing in flight"


# How many tiles differ


@pytest.mark.parametrize("tile_bytes", [1, 16 << 10, 64 << 10])
def test_small_tiles_have_the_longest_period(tile_bytes: int) -> None:
    assert distinct_tiles(tile_bytes, 3) == 1021
    assert distinct_tiles(tile_bytes, 1021 * 2) == 1019
    assert distinct_tiles(tile_bytes, 1021 * 1019) == 1013


@pytest.mark.parametrize(
    ("tile_bytes", "between", "period"),
    [
        (100_000, 1, 661),  # 64 MiB hold 671 of them
        (1 << 20, 1, 61),
        (1 << 20, 61, 67),  # 61 would repeat, and smaller ones are not larger than 61
        (1 << 20, 210, 211),
        (1 << 24, 3, 5),
        (1 << 30, 12, 13),  # not even one fits
        (100_000, 1009, 1013),
        (1 << 20, 1021, 61),  # no prime is larger: what fits counts
        (1 << 30, 1021, 1019),
    ],
)
def test_the_period_of_large_tiles(tile_bytes: int, between: int, period: int) -> None:
    assert distinct_tiles(tile_bytes, between) == period


@pytest.mark.parametrize("tile_bytes", [100_000, 1 << 20, 1 << 24, 1 << 30, 1 << 40])
@pytest.mark.parametrize("between", [1, 2, 3, 4, 6, 12, 30, 210, 1009, 1020])
def test_large_tiles_have_a_short_period(tile_bytes: int, between: int) -> None:
    """No slot gets its inputs again, and only the least such period may exceed the memory."""
    period = distinct_tiles(tile_bytes, between)
    assert period > between
    least = next(prime for prime in PRIMES if prime > between)
    assert period == least or period * tile_bytes <= MOST_DISTINCT_BYTES


def test_the_tiles_of_a_chain_of_one_kernel() -> None:
    """They have no further constants, and one reference, by both of its indices."""
    spec = load_kernel("gelu")
    tiles = make_chain_tiles(Chain((spec,)), 3, "random", 0, host_now_ns, 3)
    assert tiles.constants_to_hold(resident=False) == ()
    expected = spec.compute(tiles.packed[0][1:2])
    np.testing.assert_array_equal(tiles.expect(4, 1), expected)
    np.testing.assert_array_equal(tiles.expect(1, 1, 0), expected)


def test_the_columns_of_a_file_that_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """XRT states what is wrong with it."""

    def refused(path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("harness.xclbin.read", refused)
    assert columns_of(str(tmp_path / "locked.xclbin")) == 1
