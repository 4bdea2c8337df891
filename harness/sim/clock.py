"""The two clocks of a simulated machine. Time is spent by setting `now_ns` to what it shall be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from harness.units import NS_PER_S

SPIN_NS = 200_000
"""Before the end of a wait, sleeping is left to spinning: sleeps come back late by tens of microseconds."""


class SimClock(Protocol):
    """Nanoseconds since the machine was made; setting a later time lets the time until then pass."""

    now_ns: int


class VirtualClock:
    """Time that only calls of the pyxrt API move."""

    def __init__(self) -> None:
        self.now_ns = 0


class WallClock:
    """Real time: what is set is slept and spun for. A time that is past takes no time."""

    def __init__(self, host_now_ns: Callable[[], int], sleep: Callable[[float], None]) -> None:
        self._host_now_ns = host_now_ns
        self._sleep = sleep
        self._origin_ns = host_now_ns()

    @property
    def now_ns(self) -> int:
        """The time."""
        return self._host_now_ns() - self._origin_ns

    @now_ns.setter
    def now_ns(self, until_ns: int) -> None:
        left_ns = until_ns - self.now_ns
        if left_ns > SPIN_NS:
            self._sleep((left_ns - SPIN_NS) / NS_PER_S)
        while self.now_ns < until_ns:
            pass


class DeadClock:
    """The clock of a machine whose host process is gone: whoever looks at it is told why."""

    def __init__(self, reason: str) -> None:
        self._reason = reason

    @property
    def now_ns(self) -> int:
        """Raises ProcessAborted."""
        raise ProcessAborted(self._reason)

    @now_ns.setter
    def now_ns(self, until_ns: int) -> None:
        raise ProcessAborted(self._reason)


class ProcessAborted(BaseException):
    """Here XRT would have ended the process, by abort() or a segmentation fault; nothing should catch it."""
