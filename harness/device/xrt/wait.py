"""Waiting for runs: one loop, whatever the clock.

pyxrt's own `wait()` holds the GIL, so that no Ctrl-C would be noticed; looking at a run's state takes no system call
(XRT, hwq.cpp poll_command).
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
"""NEW, QUEUED, RUNNING, SUBMITTED of ert_cmd_state; amdxdna keeps a started run at NEW until it completes."""
SPIN_NS = 5 * NS_PER_MS
"""Longer than one execution of any kernel here (attention, 1.9 ms)."""
PAUSE_SHARE, LONGEST_PAUSE_NS = 200, 10 * NS_PER_MS
Look = Callable[[], State]
"""The state of a run: its bound method `state`."""
WaitLoop = Callable[[Sequence[Look], int], tuple[Look, State] | None]
"""Given looks at started runs and a timeout in ns: the first that sees its run ended, and the state; None if none does.

Every run is looked at once at least. KeyboardInterrupt when an interrupt was noticed while all were in flight.
"""
host_now_ns = time.perf_counter_ns
"""The host's own monotonic clock."""


class Pause(Protocol):
    """Lets time pass between two looks of a wait."""

    def __call__(self, begin_ns: int, looked_ns: int, limit_ns: int, /) -> None:
        """begin_ns: of the wait. looked_ns: a time before the last look. limit_ns: when the wait gives up."""


class HostClock:
    """The host's own clock."""

    @property
    def now_ns(self) -> int:
        """Nanoseconds since some fixed instant."""
        return host_now_ns()


def pause_host(begin_ns: int, looked_ns: int, limit_ns: int) -> None:
    """No pause for SPIN_NS, which is exact; then a share of the time waited so far.

    A run longer than SPIN_NS is seen to end up to half a percent late, and leaves the processor to other processes.
    """
    waited_ns = looked_ns - begin_ns
    pause_ns = 0 if waited_ns < SPIN_NS else min(waited_ns // PAUSE_SHARE, LONGEST_PAUSE_NS)
    time.sleep(pause_ns / NS_PER_S)  # 0: lets other threads run


def wait_loop(clock: Clock, pause: Pause, interrupt: Interrupt, states: Any) -> WaitLoop:
    """The loop on a backend's clock; states: its pyxrt's ert_cmd_state."""
    # The simulator's states are single objects: comparing those costs less than int() of one.
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
            if interrupt.heard:
                raise KeyboardInterrupt
            pause(begin_ns, looked_ns, limit_ns)
            looked_ns = clock.now_ns

    return first_ended
