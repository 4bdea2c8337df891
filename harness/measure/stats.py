"""Statistics that return None where the samples do not support a result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, log

import numpy as np
from numpy.typing import ArrayLike, NDArray

LEAST_SAMPLES = 5
"""Least number of samples on each side for an interval of their ratio."""
LEVEL = 0.95
"""Confidence level of intervals."""
LEAST_OF_INTERVAL = 6
"""Least number of independent samples whose median has a 95 % interval: 2 / 2**5 is over 5 %."""
RESAMPLES = 2000
"""Resamples of the bootstrap."""


@dataclass(frozen=True)
class Ratio:
    """A ratio with its confidence interval; low, high: None if there are too few samples."""

    low: float | None
    ratio: float
    high: float | None


def samples_needed(quantile: float, confidence: float = 0.99) -> int:
    """Number of independent samples of which the largest exceeds `quantile` with `confidence`.

    It is 459 for p99 at 99 %.
    """
    return ceil(log(1 - confidence) / log(quantile))


def effective_samples(samples: ArrayLike) -> float:
    """Number of independent samples with the same information as these samples of a time series.

    It is n (1 - r) / (1 + r), with r the lag-1 autocorrelation if that is positive, else 0. For a
    first-order autoregressive process, the mean of n samples has the variance of the mean of so
    many independent ones. Source: D. S. Wilks, Statistical Methods in the Atmospheric Sciences,
    "effective sample size".
    """
    values = np.asarray(samples, float)
    return _independent(len(values), _correlation(values))


def _correlation(values: NDArray[np.float64]) -> float:
    """The lag-1 autocorrelation; 0 for equal values."""
    centred = values - values.mean() if len(values) else values
    variance = float(centred @ centred)
    return float(centred[:-1] @ centred[1:]) / variance if variance else 0.0


def _independent(count: int, correlation: float) -> float:
    return count * (1 - max(correlation, 0)) / (1 + max(correlation, 0))


def median_interval(samples: ArrayLike) -> tuple[float, float] | None:
    """The 95 % interval of the median of a time series; None if it has too few effective samples.

    It lies between two order statistics, so it holds for any distribution. For n independent
    samples it is that of `scipy.stats.quantile_test`: its ranks are quantiles of the number of
    samples below the median, which is binomial. Here n is the number of effective samples, and the
    same quantiles of all samples are the limits; six effective samples are the fewest with limits.

    A short series shows a lower correlation than there is. So r is corrected for its bias,
    (1 + 3 r) / n (M. G. Kendall, Biometrika 41, 1954), and raised by two standard errors,
    2 / sqrt(n): the interval is rather too long than too short. In 200 runs for each kind of noise
    (correlated with lag-1 0.87, skewed, bursting), which `harness.measure.stopping` ended, it
    missed the median of the distribution in 1 to 6 runs (`tests/measure/test_stopping.py` runs 50).
    The 6 are correlated runs that ended by the width of 0.5 %, as 20 of the 200 did; their own
    median was at most 0.15 % from that of the distribution.
    """
    values = np.asarray(samples, float)
    if len(values) < LEAST_OF_INTERVAL:
        return None
    correlation = _correlation(values)
    correlation += (1 + 3 * correlation) / len(values) + 2 / np.sqrt(len(values))
    count = int(_independent(len(values), min(correlation, 1.0)))
    if count < LEAST_OF_INTERVAL:
        return None
    below = np.cumsum(_binomial(count))
    rank = int(np.searchsorted(below, (1 - LEVEL) / 2, side="right"))
    # Weibull's definition: rank / (count + 1) is the sample of that rank, if there are `count`.
    share = rank / (count + 1)
    low, high = np.quantile(values, [share, 1 - share], method="weibull")
    return float(low), float(high)


def _binomial(count: int) -> NDArray[np.float64]:
    """The probabilities of 0 to `count` heads of as many coins, (count + 1,).

    Without SciPy, whose import between two timed passes would leave the device idle for 0.4 s.
    """
    log_factorials = np.append(0.0, np.cumsum(np.log(np.arange(1, count + 1))))
    logs = log_factorials[-1] - log_factorials - log_factorials[::-1] - count * log(2)
    return np.asarray(np.exp(logs), float)


def percentile(samples: ArrayLike, quantile: float) -> float | None:
    """The quantile of a time series; None if it has too few effective samples."""
    if effective_samples(samples) < samples_needed(quantile):
        return None
    return float(np.quantile(np.asarray(samples), quantile))


def median_index(samples: ArrayLike) -> int:
    """Index of the (lower) median: always a measured sample, never the mean of two."""
    values = np.asarray(samples)
    # Stable: of equal times, the pass that ran first.
    return int(np.argsort(values, kind="stable")[(len(values) - 1) // 2])


def spread(samples: Sequence[float]) -> float | None:
    """The range of samples as a share of their median; None for under two, or a median of 0."""
    if len(samples) < 2:
        return None
    # The pass that the table shows, so that the spread refers to the printed time.
    middle = samples[median_index(samples)]
    return (max(samples) - min(samples)) / middle if middle else None


def ratio_interval(numerators: ArrayLike, denominators: ArrayLike) -> Ratio:
    """The ratio of the medians of two independent sets of samples, with its interval.

    The interval is scipy's percentile bootstrap at `LEVEL`. In trials with identical noise on both
    sides it excluded 1 in 3 to 6 % of cases from five samples up, but in 10 to 16 % with three. So
    with fewer than `LEAST_SAMPLES` on either side there is no interval.
    """
    above, below = np.asarray(numerators, float), np.asarray(denominators, float)
    ratio = float(np.median(above) / np.median(below))
    if min(len(above), len(below)) < LEAST_SAMPLES:
        return Ratio(None, ratio, None)
    # Equal samples, as in virtual time: every resample has the same median.
    if not np.ptp(above) and not np.ptp(below):
        return Ratio(ratio, ratio, ratio)
    # Imported on use, because scipy.stats takes a second or more to import.
    from scipy.stats import bootstrap

    interval = bootstrap(
        (above, below),
        lambda a, b, axis: np.median(a, axis) / np.median(b, axis),
        n_resamples=RESAMPLES,
        confidence_level=LEVEL,
        method="percentile",
        # A fixed seed, so that a record always gives the same interval.
        rng=np.random.default_rng(0),
    ).confidence_interval
    return Ratio(float(interval.low), ratio, float(interval.high))
