"""What holds for every strategy and any number of tiles."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.small_device import ADD, COSTS, make_backend, make_tiles, run_pass

from harness.config.device import Hazards, Simulator
from harness.config.strategy import Buffers, Strategy
from harness.device.open import open_backend
from harness.device.xrt.session import XrtSession
from harness.device.xrt.slot import XrtSlot
from harness.errors import DeviceCallError, DeviceError
from harness.execution import verify
from harness.execution.executor import Executor
from harness.execution.verify import Checker, OutputCopies
from harness.hazard import Kind
from harness.kernel import Buffer, Direction, Part
from harness.measure.bounds import bounds, makespan_ns
from harness.measure.metrics import pass_metrics
from harness.measure.timeline import HOST, Stage
from harness.measure.totals import stalls_ns
from harness.sim import pyxrt
from harness.sim.launch import Launch

strategies = st.builds(
    Strategy,
    buffers=st.sampled_from(Buffers),
    depth=st.integers(1, 7),
    batch=st.integers(1, 30) | st.integers(1, 130),
    prefetch=st.integers(0, 3),
    columns=st.integers(1, 4),
)
costs = st.fixed_dictionaries(
    {name: st.integers(0, 300) for name, value in COSTS.items() if isinstance(value, int)}
    | {"queue_depth": st.integers(1, 5), "chain_length": st.integers(1, 24)}
    | {
        "cold_start_ns": st.integers(0, 500),
        "exec_ns": st.fixed_dictionaries({"add": st.integers(0, 300)}),
    }
)
ODD = replace(
    ADD,
    arguments=(
        Buffer("operands", (Part("left", (3, 7)), Part("right", (3, 7)))),
        Buffer("sum", (Part("sum", (3, 7)),), Direction.OUT),
    ),
)
"""Sizes that are no multiple of a cache line."""


@given(strategies, st.integers(0, 140), costs, st.sampled_from([ADD, ODD]))
def test_every_pass(strategy: Strategy, count: int, cost: dict[str, int], spec) -> None:
    tiles = make_tiles(spec, max(1, count))
    session = XrtSession(make_backend(spec, **cost), spec, strategy.columns, timeout_ms=1000)
    executor = Executor([session], strategy, count)
    checker, order = Checker(tiles), []

    def sink(first: int, outputs: np.ndarray) -> None:
        order.extend(range(first, first + len(outputs)))
        checker(first, outputs)

    allocated = session.allocations, session.backend.device._machine.allocations
    recording = executor.run(tiles, sink, checker.poison)
    timeline = recording.timeline()
    new = (
        session.allocations - allocated[0],
        session.backend.device._machine.allocations - allocated[1],
    )
    assert order == list(range(count)), "outputs come back in tile order, each once"
    assert not checker.mismatches
    assert new == (
        (0, 0) if strategy.buffers is Buffers.pooled else (2 * -(-count // strategy.batch),) * 2
    )

    assert recording.makespan_ns == makespan_ns(timeline)
    np.testing.assert_array_equal(recording.intervals_ns, np.diff(timeline.of(Stage.WAIT)[:, 5]))
    host = timeline.of(*HOST)
    assert (host[1:, 4] >= host[:-1, 5]).all(), "the host does one thing at a time"
    for column in range(strategy.columns):
        device = timeline.of(Stage.EXEC, Stage.LOAD)
        device = device[device[:, 3] == column]
        device = device[np.lexsort((device[:, 5], device[:, 4]))]
        assert (device[1:, 4] >= device[:-1, 5]).all(), "a column does one thing at a time"
    if count:
        limits = bounds(executor.run(tiles, sink, None).timeline())
        assert limits is not None
        assert limits.makespan_ns >= limits.bound_ns


@given(strategies, st.integers(1, 40), costs)
def test_in_flight_never_exceeds_depth(
    strategy: Strategy, count: int, cost: dict[str, int]
) -> None:
    timeline = run_pass(count, costs=cost, **vars(strategy))
    for column in range(strategy.columns):
        launches = timeline.of(Stage.LAUNCH)
        reads = timeline.of(Stage.READ)
        begins = launches[launches[:, 3] == column][:, 4]
        ends = reads[reads[:, 3] == column][:, 5]
        in_flight = [int((begins <= now).sum() - (ends <= now).sum()) for now in begins]
        assert max(in_flight, default=0) <= strategy.depth


@given(strategies, st.integers(0, 40), st.integers(0, 3))
def test_the_same_seed_gives_the_identical_timeline(
    strategy: Strategy, count: int, seed: int
) -> None:
    def rows() -> np.ndarray:
        session = XrtSession(make_backend(), ADD, strategy.columns, 1000)
        return (
            Executor([session], strategy, count)
            .run(make_tiles(ADD, 50, seed), lambda first, outputs: None)
            .timeline()
            .rows
        )

    np.testing.assert_array_equal(rows(), rows())


def test_serial_passes_are_serial_and_deep_ones_reach_their_bound() -> None:
    serial, deep = (pass_metrics(run_pass(10, depth=depth), np.zeros(0)) for depth in (1, 2))
    assert serial["overlap/efficiency"] == 0
    assert deep["overlap/efficiency"] == deep["bound/ratio"] == 1


def test_stalls_are_gaps_that_the_host_left() -> None:
    assert stalls_ns(run_pass(10)).tolist() == [42] * 9, "read 5, write 10, launch 20, completion 7"
    assert stalls_ns(run_pass(10, depth=2)).tolist() == []
    assert stalls_ns(run_pass(4, columns=4)).tolist() == [], (
        "filling and draining columns is no stall"
    )
    assert stalls_ns(run_pass(10, depth=2, costs={"exec_ns": {"add": 1}})).size, (
        "a host that is too slow"
    )


def test_a_shared_bo_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The classic fault: all tiles in flight share a pair of bos. Times stay, outputs are wrong."""
    shared: list[XrtSlot] = []

    def allocate_shared(self: XrtSlot, original=XrtSlot.allocate) -> None:
        original(self)
        if shared:
            first = shared[0]
            own, theirs = self.submissions[1], first.submissions[1]
            self.submissions[1] = replace(theirs, launch=own.launch, wait=own.wait)
            for argument, bo in enumerate(first._bos):
                self._runs[1][0].set_arg(3 + argument, bo)
        shared.append(self)

    def found(depth: int, hazards: Hazards) -> tuple[int, set[Kind]]:
        shared.clear()
        tiles, strategy = make_tiles(ADD, 10), Strategy(depth=depth)
        checker, backend = Checker(tiles), make_backend(hazards=hazards)
        Executor([XrtSession(backend, ADD, 1, 1000)], strategy, 10).run(
            tiles, checker, checker.poison
        )
        return checker.mismatches, {
            hazard.kind for hazard in backend.take_hazards()
        } if backend.take_hazards else set()

    monkeypatch.setattr(XrtSlot, "allocate", allocate_shared)
    assert found(1, Hazards.error) == (0, set())
    assert found(2, Hazards.off) == (9, set()), (
        "all but the last: each one's input is overwritten while it executes"
    )
    assert found(2, Hazards.error) == (
        10,
        {Kind.WRITE_IN_FLIGHT, Kind.SHARED_OUTPUT, Kind.READ_BEFORE_COMPLETION},
    )


@pytest.mark.parametrize(
    ("forgotten", "what"), [(0, "inputs never reach the device"), (1, "outputs never come back")]
)
def test_a_missing_sync_is_found_out(
    monkeypatch: pytest.MonkeyPatch, forgotten: int, what: str
) -> None:
    def sync(self: pyxrt.bo, direction: int, *window: int) -> None:
        if direction != forgotten or self.size() == 16:  # the instructions
            original(self, direction, *window)

    original = pyxrt.bo.sync
    monkeypatch.setattr(pyxrt.bo, "sync", sync)
    tiles = make_tiles(ADD, 5)
    checker = Checker(tiles)
    Executor([XrtSession(make_backend(), ADD, 1, 1000)], Strategy(), 5).run(
        tiles, checker, checker.poison
    )
    assert checker.mismatches == 5, what


def test_a_mismatch_names_tile_index_and_values() -> None:
    tiles = make_tiles(ADD, 3)

    def broken(left: np.ndarray, right: np.ndarray) -> np.ndarray:
        total = left + right
        if (left[0] == tiles.spec.inputs[0].unpack(tiles.packed[0])[0][1]).all():
            total[0, 2, 5] += 1
        return total

    backend = make_backend(replace(ADD, reference=broken))
    checker = Checker(tiles)
    Executor([XrtSession(backend, ADD, 1, 1000)], Strategy(depth=2), 3).run(
        tiles, checker, checker.poison
    )
    right = tiles.spec.output.unpack(tiles.expect(0, 3))[0][1, 2, 5]
    wrong = np.int8(right + np.int8(1)) if right < 127 else np.int8(-128)
    assert checker.mismatches == 1
    assert checker.first_mismatch == f"tile 1: sum[2, 5] is {wrong}, expected {right}"


def test_more_tiles_than_distinct_inputs_wrap_around() -> None:
    tiles = make_tiles(ADD, 7)
    executor = Executor([XrtSession(make_backend(), ADD, 1, 1000)], Strategy(depth=2, batch=3), 20)
    checker, kept, again = Checker(tiles), OutputCopies(tiles, 20), Checker(tiles)
    executor.run(tiles, checker, checker.poison)
    executor.run(tiles, kept)
    kept.feed(again)
    assert (checker.compared, checker.mismatches) == (again.compared, again.mismatches) == (20, 0)


def test_of_a_pass_too_long_to_keep_the_last_outputs_are_checked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(verify, "MOST_COPIED_BYTES", 9 * ADD.output.size_bytes)
    tiles = make_tiles(ADD, 7)
    kept, checker = OutputCopies(tiles, 20), Checker(tiles)
    Executor([XrtSession(make_backend(), ADD, 1, 1000)], Strategy(depth=2, batch=4), 20).run(
        tiles, kept
    )
    kept.feed(checker)
    assert (checker.compared, checker.mismatches) == (9, 0)


@pytest.mark.parametrize(
    "knobs", [{}, {"depth": 10}, {"batch": 10}, {"depth": 2, "batch": 3, "columns": 2}]
)
def test_a_device_that_stops_writing_is_found_out_in_a_timed_pass(
    monkeypatch: pytest.MonkeyPatch, knobs: dict[str, int]
) -> None:
    """Even where each slot still holds the right output of the pass before."""
    tiles, strategy = make_tiles(ADD, 10), Strategy(**knobs)
    backend = make_backend()
    executor = Executor([XrtSession(backend, ADD, strategy.columns, 1000)], strategy, 10)
    checker, kept, again = Checker(tiles), OutputCopies(tiles, 10), Checker(tiles)
    executor.run(tiles, checker, checker.poison)
    executor.poison(checker.poison)
    for effect in ("begin", "finish"):
        monkeypatch.setattr(Launch, effect, lambda self: None)
    executor.run(tiles, kept)
    kept.feed(again)
    assert checker.mismatches == 0
    assert again.mismatches == 10


def test_a_device_error_of_pyxrt_leaves_nothing_in_flight(monkeypatch: pytest.MonkeyPatch) -> None:
    session = XrtSession(make_backend(), ADD, 1, 1000)
    starts, original = [], pyxrt.run.start

    def start(self: pyxrt.run) -> None:
        starts.append(self)
        if len(starts) == 5:
            raise RuntimeError(
                "DRM_IOCTL_AMDXDNA_EXEC_CMD IOCTL failed (err=-5): Input/output error"
            )
        original(self)

    monkeypatch.setattr(pyxrt.run, "start", start)
    with pytest.raises(DeviceCallError, match="EXEC_CMD"):
        Executor([session], Strategy(depth=3), 9).run(
            make_tiles(ADD, 9), lambda first, outputs: None
        )
    machine = session.backend.device._machine
    assert all(context.retired == context.submitted for context in machine.contexts)


def test_ctrl_c_while_a_launch_blocks_is_heard_when_it_has_been_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    session = XrtSession(make_backend(), ADD, 1, 1000)
    original = pyxrt.run.start

    def start(self: pyxrt.run) -> None:
        original(self)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(pyxrt.run, "start", start)
    with pytest.raises(KeyboardInterrupt):
        Executor([session], Strategy(depth=6), 9).run(
            make_tiles(ADD, 9), lambda first, outputs: None
        )
    machine = session.backend.device._machine
    assert all(context.retired == context.submitted for context in machine.contexts)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_a_runlist_that_takes_too_long_fails_too() -> None:
    session = XrtSession(make_backend(exec_ns={"add": 3_000_000}), ADD, 1, timeout_ms=2)
    executor = Executor([session], Strategy(batch=3), 5)
    with pytest.raises(DeviceError, match=r"add: completion took longer than device.timeout_ms=2"):
        executor.run(make_tiles(ADD, 5), lambda first, outputs: None)


def test_a_run_that_takes_too_long_fails_and_none_is_left_in_flight() -> None:
    session = XrtSession(make_backend(exec_ns={"add": 3_000_000}), ADD, 1, timeout_ms=2)
    executor = Executor([session], Strategy(depth=3), 5)
    with pytest.raises(DeviceError, match=r"add: no completion within device.timeout_ms=2"):
        executor.run(make_tiles(ADD, 5), lambda first, outputs: None)
    machine = session.backend.device._machine
    assert all(context.retired == context.submitted for context in machine.contexts)


def test_an_interrupt_leaves_nothing_in_flight() -> None:
    session = XrtSession(make_backend(), ADD, 2, 1000)
    executor = Executor([session], Strategy(depth=2, columns=2), 20)

    def interrupted(first: int, outputs: np.ndarray) -> None:
        if first == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        executor.run(make_tiles(ADD, 20), interrupted)
    machine = session.backend.device._machine
    assert all(context.retired == context.submitted for context in machine.contexts)


def test_makespan_counts_from_the_first_stage_in() -> None:
    assert makespan_ns(run_pass(10)) == 10 * 142


def test_dropping_a_session_closes_its_contexts() -> None:
    backend = open_backend(Simulator(**COSTS), ADD)
    for _ in range(10):
        session = XrtSession(backend, ADD, 4, 1000)
        executor = Executor([session], Strategy(columns=4, batch=2), 9)
        executor.run(make_tiles(ADD, 9), lambda first, outputs: None)
        assert len(backend.device._machine.contexts) == 4
        del session, executor
        assert not backend.device._machine.contexts
    assert backend.pyxrt is pyxrt


COUNT_LAUNCHES = """
import gc
from support.small_device import ADD, make_backend, make_tiles
from harness.config.strategy import Buffers, Strategy
from harness.device.xrt.session import XrtSession
from harness.execution.executor import Executor
from harness.sim.launch import Launch

session = XrtSession(make_backend(), ADD, 1, 1000)
executor = Executor([session], Strategy(buffers=Buffers.per_tile, depth=2), 50)
launches = lambda: sum(isinstance(each, Launch) for each in gc.get_objects())
gc.collect()
gc.disable()
before = launches()
executor.run(make_tiles(ADD, 50), lambda first, outputs: None)
print(launches() - before)
"""


def test_a_pass_keeps_no_bos_of_tiles_that_are_done() -> None:
    """No collection runs during a pass, so cycles would stay.

    In a process of its own: what other tests leave behind would count.
    """
    tests = Path(__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tests), str(tests.parent)])}
    command = [sys.executable, "-c", COUNT_LAUNCHES]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert 0 <= int(done.stdout) <= 6
