"""Waits for runs by polling their state, with one loop for virtual and for real time.

pyxrt's own `wait()` holds the GIL, so Ctrl-C would not be noticed. Reading a run's state takes no
system call (XRT, hwq.cpp poll_command).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from harness.device.backend import Clock
from harness.device.interrupt import Interrupt
from harness.device.xrt.pyxrt_api import State
from harness.units import NS_PER_MS, NS_PER_S

IN_FLIGHT = frozenset({1, 2, 3, 7})
"""NEW, QUEUED, RUNNING, SUBMITTED of ert_cmd_state.

amdxdna leaves a started run in state NEW until it completes.
"""
SPIN_NS = 5 * NS_PER_MS
"""Time for which a wait polls without sleeping.

It is longer than one execution of any kernel here (attention: 1.9 ms).
"""
PAUSE_SHARE, LONGEST_PAUSE_NS = 200, 10 * NS_PER_MS
"""After SPIN_NS a wait sleeps for 1 / PAUSE_SHARE of the time waited so far."""
Look = Callable[[], State]
"""Reads the state of a run: its bound method `state`."""
WaitLoop = Callable[[Sequence[Look], int], tuple[Look, State] | None]
"""first_ended(looks, timeout_ns): the first look whose run has ended, with its state.

None if no run ends within the timeout. Every run is checked at least once. KeyboardInterrupt if
Ctrl-C arrived while all runs were in flight.
"""


class Pause(Protocol):
    """Lets time pass between two rounds of checks."""

    def __call__(self, begin_ns: int, looked_ns: int, limit_ns: int, /) -> None:
        """begin_ns: begin of the wait. looked_ns: begin of the last round. limit_ns: its end."""


def pause_host(begin_ns: int, looked_ns: int, limit_ns: int) -> None:
    """Do not sleep for SPIN_NS, for exact times; then sleep for a share of the time waited so far.

    So the end of a run longer than SPIN_NS is noticed up to half a percent late, and other
    processes can use the processor meanwhile.
    """
    waited_ns = looked_ns - begin_ns
    pause_ns = 0 if waited_ns < SPIN_NS else min(waited_ns // PAUSE_SHARE, LONGEST_PAUSE_NS)
    # sleep(0) releases the GIL, so that other threads can run.
    time.sleep(pause_ns / NS_PER_S)


def wait_loop(clock: Clock, pause: Pause, interrupt: Interrupt, states: Any) -> WaitLoop:
    """The polling loop on a backend's clock; states: pyxrt's ert_cmd_state."""
    # The simulator has one object per state, and `is` costs less than int(state).
    new, completed = states.ERT_CMD_STATE_NEW, states.ERT_CMD_STATE_COMPLETED

    def first_ended(looks: Sequence[Look], timeout_ns: int) -> tuple[Look, State] | None:
        begin_ns = looked_ns = clock.now_ns
        limit_ns = begin_ns + timeout_ns
        while True:
            for look in looks:
                state = look()
                if state is new:
                    continue
                if state is completed or int(state) not in IN_FLIGHT:
                    return look, state
            if looked_ns >= limit_ns:
                return None
            if interrupt.pending:
                raise KeyboardInterrupt
            pause(begin_ns, looked_ns, limit_ns)
            looked_ns = clock.now_ns

    return first_ended
