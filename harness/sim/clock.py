"""The clocks of a simulated machine: virtual time, wall time, and the clock of an ended process.

To let time pass, set `now_ns` to a later time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from harness.units import NS_PER_S

SPIN_NS = 200_000
"""Last part of a wait, which is spent spinning: sleep() returns tens of microseconds late."""


class SimClock(Protocol):
    """Nanoseconds since the start of the machine. Setting a later time waits until then."""

    now_ns: int


class VirtualClock:
    """Computed time: only calls of the pyxrt API advance it."""

    def __init__(self) -> None:
        self.now_ns = 0


class WallClock:
    """Real time. Setting `now_ns` sleeps and then spins until then; a past time costs nothing."""

    def __init__(self, host_now_ns: Callable[[], int], sleep: Callable[[float], None]) -> None:
        self._host_now_ns = host_now_ns
        self._sleep = sleep
        self._origin_ns = host_now_ns()

    @property
    def now_ns(self) -> int:
        """Nanoseconds since the clock was created."""
        return self._host_now_ns() - self._origin_ns

    @now_ns.setter
    def now_ns(self, until_ns: int) -> None:
        left_ns = until_ns - self.now_ns
        # Linux adds its timer slack to a sleep, 50 us by default (prctl(2), PR_SET_TIMERSLACK).
        if left_ns > SPIN_NS:
            self._sleep((left_ns - SPIN_NS) / NS_PER_S)
        while self.now_ns < until_ns:
            pass


class DeadClock:
    """The clock of a machine whose host process XRT would have ended: every use raises."""

    def __init__(self, reason: str) -> None:
        self._reason = reason

    @property
    def now_ns(self) -> int:
        """Raise ProcessAborted."""
        raise ProcessAborted(self._reason)

    @now_ns.setter
    def now_ns(self, until_ns: int) -> None:
        raise ProcessAborted(self._reason)


class ProcessAborted(BaseException):
    """XRT would have ended the process here, by abort() or a segmentation fault.

    A BaseException, so that `except Exception` in a program does not catch it.
    """
