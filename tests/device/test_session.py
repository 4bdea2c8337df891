"""What stands in for a runlist, waits, and what XRT's errors are said to mean."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from support.small_device import ADD, make_backend, make_tiles

from harness.config.device import ClockKind
from harness.config.strategy import Strategy
from harness.device.clock import HostClock
from harness.device.interrupt import Interrupt
from harness.device.xrt.failures import explanation
from harness.device.xrt.plain_list import PlainList
from harness.device.xrt.session import WAKE_AFTER_NS, XrtSession
from harness.device.xrt.wait import pause_host, wait_loop
from harness.errors import DeviceCallError, DeviceError, DeviceTimeoutError
from harness.execution.executor import Executor
from harness.sim import pyxrt


class Runs:
    """Runs that log what is done to them. Waits raise `errors`, by run; `refused` cannot start."""

    def __init__(self, count: int, errors: dict[int, DeviceError], refused: int = -1) -> None:
        self.log: list[str] = []
        self.errors = errors
        self.refused = refused
        self.list = PlainList(
            [self.start(n) for n in range(count)], [self.wait(n) for n in range(count)]
        )

    def start(self, number: int) -> Callable[[], None]:
        def start() -> None:
            if number == self.refused:
                raise RuntimeError("refused")
            self.log.append(f"start {number}")

        return start

    def wait(self, number: int) -> Callable[[int], None]:
        def wait(patience: int) -> None:
            self.log.append(f"wait {number} {patience}")
            if number in self.errors:
                raise self.errors[number]

        return wait


def test_a_plain_list() -> None:
    runs = Runs(2, {})
    runs.list.execute()
    runs.list.wait(10)
    assert runs.log == ["start 0", "start 1", "wait 0 10", "wait 1 10"]


@pytest.mark.parametrize(
    ("errors", "raised"),
    [
        ({0: DeviceError("first"), 2: DeviceError("last")}, "first"),
        ({0: DeviceError("first"), 2: DeviceTimeoutError("in flight")}, "in flight"),
    ],
    ids=["the first", "in flight"],
)
def test_a_plain_list_whose_runs_fail(errors: dict[int, DeviceError], raised: str) -> None:
    runs = Runs(3, errors)
    runs.list.execute()
    with pytest.raises(DeviceError, match=raised):
        runs.list.wait(1)
    assert runs.log[3:] == ["wait 0 1", "wait 1 1", "wait 2 1"], (
        "none is left in flight because another failed"
    )


def test_a_plain_list_that_cannot_be_started() -> None:
    runs = Runs(3, {1: DeviceTimeoutError("in flight")}, refused=1)
    with pytest.raises(RuntimeError, match="refused"):
        runs.list.execute()
    with pytest.raises(DeviceTimeoutError):
        runs.list.wait(0)
    assert runs.log == ["start 0", "wait 0 0", "wait 1 0"], (
        "the refused one may be in flight, the third was not begun"
    )


ENDLESS_NS = 10**15
"""No test waits so long, however loaded the machine is."""


class Polled:
    """A run that has ended at its n-th look."""

    def __init__(self, looks: int) -> None:
        self.looks = looks

    def state(self) -> pyxrt.ert_cmd_state:
        self.looks -= 1
        state = pyxrt.ert_cmd_state
        return state.ERT_CMD_STATE_NEW if self.looks > 0 else state.ERT_CMD_STATE_COMPLETED


def poll(interrupt: Interrupt, run: Any, timeout_ns: int) -> Any:
    """State in which a run has ended; None after the timeout."""
    first_ended = wait_loop(HostClock(), pause_host, interrupt, pyxrt.ert_cmd_state)
    ended = first_ended((run.state,), timeout_ns)
    return ended and ended[1]


def test_polling() -> None:
    run = Polled(1000)
    assert poll(Interrupt(), run, ENDLESS_NS) == pyxrt.ert_cmd_state.ERT_CMD_STATE_COMPLETED
    assert run.looks == 0, "not looked at again"


def test_polling_ends_in_time() -> None:
    run = Polled(10**9)
    assert poll(Interrupt(), run, 20_000_000) is None
    assert poll(Interrupt(), Polled(1), 0) == pyxrt.ert_cmd_state.ERT_CMD_STATE_COMPLETED, (
        "looked at before given up"
    )


def test_polling_hears_ctrl_c() -> None:
    interrupt, done = Interrupt(), Polled(1)
    interrupt.pending = True
    assert poll(interrupt, done, ENDLESS_NS) == pyxrt.ert_cmd_state.ERT_CMD_STATE_COMPLETED, (
        "what has ended is taken"
    )
    with pytest.raises(KeyboardInterrupt):
        poll(interrupt, Polled(10**9), ENDLESS_NS)


@pytest.mark.parametrize("sign", ["", "-"])
def test_what_xrt_says_is_explained(sign: str) -> None:
    text = f"DRM_IOCTL_AMDXDNA_CREATE_HWCTX IOCTL failed (err={sign}22): Invalid argument"
    assert explanation(RuntimeError(text)).startswith(f"{text} (no context or column is free")
    text = "runlist failed execution (ERT_CMD_STATE_ERROR)"
    meaning = "the firmware reports that the kernel failed"
    assert explanation(RuntimeError(text)) == f"{text} ({meaning})"
    for other in (
        "DRM_IOCTL_AMDXDNA_CREATE_BO IOCTL failed (err=-22): Bad BO type.",
        "err=-22",
        "anything",
    ):
        assert explanation(RuntimeError(other)) == other


def test_a_signal_does_not_end_the_wait_for_a_runlist() -> None:
    session = XrtSession(make_backend(clock=ClockKind.wall), ADD, 1, 1000)
    handled: list[int] = []

    class List:
        def wait(self) -> None:
            # To this thread: another one would take a signal of the process.
            signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
            assert not handled, "XRT would report that the list has failed"

    before = signal.signal(signal.SIGUSR1, lambda number, frame: handled.append(number))
    try:
        session._list_waiter(List())(1)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert handled == [signal.SIGUSR1], "after the wait"
    session.close()


def test_a_runlist_whose_wait_was_ended_may_be_in_flight() -> None:
    session = XrtSession(make_backend(), ADD, 1, 1000)

    class List:
        def wait(self) -> None:
            raise RuntimeError("runlist failed execution (ERT_CMD_STATE_NEW)")

    with pytest.raises(DeviceCallError, match="ERT_CMD_STATE_NEW"):
        session._list_waiter(List())(1)
    session.close()


def used(backend: Any, strategy: Strategy) -> tuple[XrtSession, Executor]:
    session = XrtSession(backend, ADD, strategy.columns, 1000)
    return session, Executor([session], strategy, 4)


@pytest.mark.parametrize("columns", [1, 3])
def test_a_sleeping_device_is_woken_before_a_pass(columns: int) -> None:
    backend = make_backend(idle_suspend_ns=5 * WAKE_AFTER_NS, resume_ns=120_000_000)
    session, executor = used(backend, Strategy(columns=columns))
    tiles, sink = make_tiles(ADD, 4), lambda first, outputs: None
    usual_ns = executor.run(tiles, sink).makespan_ns
    backend.clock.now_ns += 6 * WAKE_AFTER_NS
    assert executor.run(tiles, sink).makespan_ns == usual_ns
    assert session.allocations == columns * 2, "bos of slots, and none of what wakes"
    begin_ns = backend.clock.now_ns
    assert executor.run(tiles, sink).makespan_ns == usual_ns
    assert backend.clock.now_ns == begin_ns + usual_ns, "not woken, being awake"
    executor.close()
    assert backend.device._machine.contexts == []
    assert backend.take_hazards
    assert backend.take_hazards() == []


def test_without_being_woken_it_would_be_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = make_backend(idle_suspend_ns=5 * WAKE_AFTER_NS, resume_ns=120_000_000)
    session, executor = used(backend, Strategy())
    tiles, sink = make_tiles(ADD, 4), lambda first, outputs: None
    usual_ns = executor.run(tiles, sink).makespan_ns
    monkeypatch.setattr(session, "wake", lambda: None)
    backend.clock.now_ns += 6 * WAKE_AFTER_NS
    assert executor.run(tiles, sink).makespan_ns == usual_ns + 120_000_000


def test_bos_are_whole_cache_lines() -> None:
    session = XrtSession(make_backend(), ADD, 1, 1000)
    assert session.allocate(3, 65, 0).size() == 128
    assert np.frombuffer(session.allocate(4, 64, 0).map(), np.uint8).size == 64


def test_contexts_are_made_while_others_are_kept_from_it() -> None:
    backend, seen = make_backend(), []

    @contextmanager
    def opening() -> Iterator[None]:
        contexts = backend.device._machine.contexts
        seen.append(len(contexts))
        yield
        seen.append(len(contexts))

    backend.opening = opening
    session = XrtSession(backend, ADD, 3, 1000)
    assert seen == [0, 3]
    assert session.spec is ADD
