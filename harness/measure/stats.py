"""Statistics that return None where the samples do not support a result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, log

import numpy as np
from numpy.typing import ArrayLike

LEAST_SAMPLES = 5
"""Least number of samples on each side for an interval of their ratio."""
LEVEL = 0.95
"""Confidence level of intervals."""
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
    centred = values - values.mean() if len(values) else values
    variance = float(centred @ centred)
    correlation = float(centred[:-1] @ centred[1:]) / variance if variance else 0.0
    return len(values) * (1 - max(correlation, 0)) / (1 + max(correlation, 0))


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
