"""When the timed passes of a run end: a pure rule over their times and the time that has elapsed.

    rule = StopRule(least=5, most=100, most_ns=10 * NS_PER_S, width=0.005)
    stop = None
    while not stop:
        times_ns.append(timed_pass())
        stop = rule(times_ns, elapsed_ns())

The rule is that of NVIDIA's nvbench (`stdrel_criterion.cxx`) with another interval: passes end when
their median is known well enough, or when their noise is known and is too large for that.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import ArrayLike

from harness.measure.stats import median_interval

STABLE_LEAST = 20
"""Least number of passes whose noise can be stable; with fewer, half of them say too little."""
STABLE_SHARE = 0.05
"""Relative change of the spread up to which it is stable, as in nvbench."""


class StopReason(Enum):
    """Why the timed passes of a run ended.

    exact: virtual time without noise, where more passes show nothing new. requested:
    `measure.repeats` passes. width: the 95 % interval of the median is as narrow as wanted. noisy:
    the noise no longer changes, and the most passes would not give that width. passes, seconds:
    the most passes, or the most seconds.
    """

    exact = "exact"
    requested = "requested"
    width = "width"
    noisy = "stable but noisy"
    passes = "cap reached: passes"
    seconds = "cap reached: seconds"


@dataclass(frozen=True)
class Stop:
    """The end of the timed passes.

    width: length of the 95 % interval of their median, as a share of the median; None if the passes
    are exact, or too few or too correlated for an interval.
    """

    reason: StopReason
    width: float | None

    @property
    def text(self) -> str:
        """The reason and the width, for readers: `width 0.31%`."""
        return self.reason.value + ("" if self.width is None else f" {self.width:.2%}")


@dataclass(frozen=True)
class StopRule:
    """Decides after each timed pass whether it was the last.

    least, most: number of passes. most_ns: time after which no further pass begins, once `least`
    have ended. width: wanted relative width of the interval of the median. With least == most, the
    number of passes is fixed, and `fixed` is the reason.
    """

    least: int
    most: int
    most_ns: int = 0
    width: float = 0.0
    fixed: StopReason = StopReason.requested

    def __call__(self, times_ns: ArrayLike, elapsed_ns: int) -> Stop | None:
        """The end, or None if another pass is to follow.

        times_ns: makespans of the timed passes so far, in order. elapsed_ns: since the first began.
        """
        times = np.asarray(times_ns, float)
        if len(times) < self.least:
            return None
        if self.least == self.most:
            exact = self.fixed is StopReason.exact
            return Stop(self.fixed, None if exact else interval_width(times))
        width = interval_width(times)
        if reason := self._reason(times, elapsed_ns, width):
            return Stop(reason, width)
        return None

    def _reason(self, times: np.ndarray, elapsed_ns: int, width: float | None) -> StopReason | None:
        if width is not None and width <= self.width:
            return StopReason.width
        if len(times) >= self.most:
            return StopReason.passes
        if elapsed_ns >= self.most_ns:
            return StopReason.seconds
        # The width shrinks with the root of the number of passes.
        out_of_reach = width is not None and len(times) * (width / self.width) ** 2 > self.most
        return StopReason.noisy if out_of_reach and noise_is_stable(times) else None


def interval_width(times: ArrayLike) -> float | None:
    """Length of the 95 % interval of the median as a share of it; None without an interval."""
    interval, middle = median_interval(times), float(np.median(np.asarray(times, float)))
    return (interval[1] - interval[0]) / middle if interval and middle else None


def noise_is_stable(times: ArrayLike) -> bool:
    """Whether the relative standard deviation changed little over the second half of the passes.

    It is that of the first n passes, for each n. It changes little if these values deviate from the
    last by at most `STABLE_SHARE`, as their root mean square (nvbench, `stdrel_criterion.cxx`).
    """
    values = np.asarray(times, float)
    if len(values) < STABLE_LEAST:
        return False
    counts = np.arange(1, len(values) + 1)
    # Of deviations from the mean of all, because squares of the times lose digits.
    centred = values - values.mean()
    means = np.cumsum(centred) / counts
    variances = np.maximum(np.cumsum(centred**2) / counts - means**2, 0)
    spreads = np.sqrt(variances) / (means + values.mean())
    second_half = spreads[len(values) // 2 :]
    change = np.sqrt(np.mean((second_half - spreads[-1]) ** 2))
    return bool(change <= STABLE_SHARE * spreads[-1])
