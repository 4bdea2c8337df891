"""The verdict about two settings from pairs of runs: ratio of their times, interval, what decides.

One sample is one run: passes of a run share their disturbances, so they are not independent.
Source of the rules: pairs as in "Producing wrong data without doing anything obviously wrong!"
(Mytkowicz et al., 2009); equivalence inside a margin as in two one-sided tests (Schuirmann, 1987).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from math import exp, isclose, log, log1p

import numpy as np

from harness.measure.stats import LEAST_SAMPLES, LEVEL

LEAST_PAIRS = LEAST_SAMPLES
"""Least number of pairs for an interval."""
THRESHOLD = 0.01
"""Relative difference of two times that counts as a difference."""
MOST_PAIRS = 1_000_000
"""Largest number of pairs that an UNDECIDED comparison names."""


class Change(Enum):
    """The verdict of a comparison.

    FASTER, SLOWER: the interval is beyond the threshold and the noise floor. SAME: it is inside of
    +-threshold. UNDECIDED: neither. INVALID: a rule of measurement is broken.
    """

    FASTER = "FASTER"
    SLOWER = "SLOWER"
    SAME = "SAME"
    UNDECIDED = "UNDECIDED"
    INVALID = "INVALID"


class Gate(Enum):
    """Whether a comparison stays within a limit; the value is the exit code."""

    within = 0
    regression = 1
    undecided = 2


@dataclass(frozen=True)
class Limits:
    """Relative differences: the smallest that counts, and the largest that noise alone shows."""

    threshold: float = THRESHOLD
    noise_floor: float = 0.0

    @property
    def difference(self) -> float:
        """What an interval must clear to be FASTER or SLOWER."""
        return max(self.threshold, self.noise_floor)


@dataclass(frozen=True)
class Comparison:
    """The result of pairs of runs.

    ratio: time of the candidate / time of the reference, the geometric mean over the pairs. low,
    high: its interval at `LEVEL`; None for under LEAST_PAIRS pairs. exact: the times have no noise,
    and the interval is the ratio. more_pairs: pairs that would decide an UNDECIDED comparison, if
    they vary as these do; None if no number would. reason: why it is INVALID or UNDECIDED.
    """

    change: Change
    ratio: float | None
    low: float | None
    high: float | None
    pairs: int
    exact: bool = False
    more_pairs: int | None = None
    reason: str = ""


def compare(
    reference: Sequence[float],
    candidate: Sequence[float],
    limits: Limits | None = None,
    *,
    exact: bool = False,
) -> Comparison:
    """Compare the times of runs, of which those with the same index are a pair.

        compare([100, 101, 99, 100, 102], [90, 91, 89, 91, 90]).change  # Change.FASTER

    The interval is Student's t on the logarithms of the pairs' ratios. exact: times do not vary;
    then one pair is enough. ValueError for no pairs, or sides of different length.
    """
    limits = limits or Limits()
    logs = np.log(np.asarray(candidate, float)) - np.log(np.asarray(reference, float))
    if not len(logs):
        raise ValueError("no pairs")
    count, mean = len(logs), float(logs.mean())
    if exact and not np.ptp(logs):
        change = _change(mean, mean, limits)
        reason = _never(mean, limits) if change is Change.UNDECIDED else ""
        ratio = exp(mean)
        return Comparison(change, ratio, ratio, ratio, count, exact=True, reason=reason)
    if count < LEAST_PAIRS:
        lacking = LEAST_PAIRS - count
        reason = f"{count} of at least {LEAST_PAIRS} pairs"
        return Comparison(
            Change.UNDECIDED, exp(mean), None, None, count, more_pairs=lacking, reason=reason
        )
    deviation = float(logs.std(ddof=1))
    half = half_width(deviation, count)
    low, high = mean - half, mean + half
    change = _change(low, high, limits)
    more, reason = None, ""
    if change is Change.UNDECIDED:
        more = _more_pairs(mean, deviation, count, limits)
        reason = f"{more} more pairs would decide" if more else _never(mean, limits)
    return Comparison(change, exp(mean), exp(low), exp(high), count, more_pairs=more, reason=reason)


def invalid(pairs: int, reason: str, ratio: float | None = None) -> Comparison:
    """The comparison of runs that break a rule."""
    return Comparison(Change.INVALID, ratio, None, None, pairs, reason=reason)


def gate(comparison: Comparison, slower: float, noise_floor: float = 0.0) -> Gate:
    """Whether the candidate is slower by more than the share `slower`.

    A regression only if the interval clears the noise floor too; within the limit only if the
    whole interval is.
    """
    if comparison.change is Change.INVALID or comparison.low is None or comparison.high is None:
        return Gate.undecided
    if log(comparison.low) > log1p(max(slower, noise_floor)):
        return Gate.regression
    if log(comparison.high) <= log1p(slower) or isclose(comparison.high, 1 + slower):
        return Gate.within
    return Gate.undecided


def noise_floor_of(comparison: Comparison) -> float | None:
    """The largest relative difference that pairs of equal runs leave possible; None without one."""
    if comparison.low is None or comparison.high is None:
        return None
    return exp(max(abs(log(comparison.low)), abs(log(comparison.high)))) - 1


def half_width(deviation: float, count: int) -> float:
    """Half the width of the t interval of a mean: of `count` samples with that deviation."""
    # Imported on use, because scipy.special takes a part of a second to import.
    from scipy.special import stdtrit

    return float(stdtrit(count - 1, (1 + LEVEL) / 2) * deviation / count**0.5)


def _change(low: float, high: float, limits: Limits) -> Change:
    """The verdict about an interval of the logarithm of a ratio."""
    if low > log1p(limits.difference):
        return Change.SLOWER
    if high < -log1p(limits.difference):
        return Change.FASTER
    same = log1p(limits.threshold)
    return Change.SAME if -same <= low and high <= same else Change.UNDECIDED


def _more_pairs(mean: float, deviation: float, count: int, limits: Limits) -> int | None:
    """Further pairs after which the interval decides, if mean and deviation stay as they are."""
    room = max(abs(mean) - log1p(limits.difference), log1p(limits.threshold) - abs(mean))
    if room <= 0 or half_width(deviation, MOST_PAIRS) >= room:
        return None
    few, enough = count, MOST_PAIRS
    while enough - few > 1:
        middle = (few + enough) // 2
        if half_width(deviation, middle) < room:
            enough = middle
        else:
            few = middle
    return enough - count


def _never(mean: float, limits: Limits) -> str:
    """Why no number of pairs decides."""
    if limits.threshold <= exp(abs(mean)) - 1 <= limits.noise_floor:
        return (
            "no number of pairs decides: the difference is more than the threshold, and no more "
            "than the noise floor"
        )
    return f"more than {MOST_PAIRS:,} pairs would be needed"
