"""Statistics that claim no more than their samples support."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, log

import numpy as np
from numpy.typing import ArrayLike

LEAST_SAMPLES = 5
"""Samples of each side below which an interval of their ratio is refused."""
LEVEL = 0.95
"""Confidence level of intervals."""
RESAMPLES = 2000


@dataclass(frozen=True)
class Ratio:
    """How many times larger one quantity is than another; low, high: None where unknown."""

    low: float | None
    ratio: float
    high: float | None


def samples_needed(quantile: float, confidence: float = 0.99) -> int:
    """Independent samples needed for the largest to exceed `quantile` with that confidence.

    459 for p99 at 99 %.
    """
    return ceil(log(1 - confidence) / log(quantile))


def effective_samples(samples: ArrayLike) -> float:
    """How many independent samples these are worth, which were taken one after the other.

    n (1 - r) / (1 + r) with r the lag-1 autocorrelation, where that is positive: the variance of a
    mean of n samples of a first-order autoregressive process is that of so many independent ones.
    Source: D. S. Wilks, Statistical Methods in the Atmospheric Sciences, "effective sample size".
    """
    values = np.asarray(samples, float)
    centred = values - values.mean() if len(values) else values
    variance = float(centred @ centred)
    correlation = float(centred[:-1] @ centred[1:]) / variance if variance else 0.0
    return len(values) * (1 - max(correlation, 0)) / (1 + max(correlation, 0))


def percentile(samples: ArrayLike, quantile: float) -> float | None:
    """The quantile of samples taken one after the other, or None where they do not support it."""
    if effective_samples(samples) < samples_needed(quantile):
        return None
    return float(np.quantile(np.asarray(samples), quantile))


def median_index(samples: ArrayLike) -> int:
    """Index of the (lower) median: a pass that was measured, not a mean of two."""
    values = np.asarray(samples)
    return int(np.argsort(values, kind="stable")[(len(values) - 1) // 2])


def spread(samples: Sequence[float]) -> float | None:
    """The range of samples as a share of their median; None for fewer than two, or a median of 0."""
    if len(samples) < 2:
        return None
    middle = samples[median_index(samples)]
    return (max(samples) - min(samples)) / middle if middle else None


def ratio_interval(numerators: ArrayLike, denominators: ArrayLike) -> Ratio:
    """The ratio of two medians from independent samples of each, with its interval.

    The interval is scipy's percentile bootstrap at `LEVEL`. Identical noise on both sides is called
    different in 3 to 6 % of trials from five samples up, but in 10 to 16 % with three; so below
    `LEAST_SAMPLES` on either side there is no interval.
    """
    above, below = np.asarray(numerators, float), np.asarray(denominators, float)
    ratio = float(np.median(above) / np.median(below))
    if min(len(above), len(below)) < LEAST_SAMPLES:
        return Ratio(None, ratio, None)
    if not np.ptp(above) and not np.ptp(below):
        return Ratio(ratio, ratio, ratio)
    from scipy.stats import bootstrap

    interval = bootstrap(
        (above, below),
        lambda a, b, axis: np.median(a, axis) / np.median(b, axis),
        n_resamples=RESAMPLES,
        confidence_level=LEVEL,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return Ratio(float(interval.low), ratio, float(interval.high))
