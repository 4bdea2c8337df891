"""Statistics that say no more than their samples do."""

from __future__ import annotations

from math import ceil, log

import numpy as np
from numpy.typing import ArrayLike


def samples_needed(quantile: float, confidence: float = 0.99) -> int:
    """Samples below which the largest one need not lie above `quantile`, at `confidence`: 459 for p99 at 99 %."""
    return ceil(log(1 - confidence) / log(quantile))


def percentile(samples: ArrayLike, quantile: float) -> float | None:
    """The quantile of the samples, or None where there are too few to support it."""
    values = np.asarray(samples)
    return float(np.quantile(values, quantile)) if len(values) >= samples_needed(quantile) else None


def median_index(samples: ArrayLike) -> int:
    """Which sample is the (lower) median: a pass that was really measured, not a mean of two."""
    return int(np.argsort(np.asarray(samples), kind="stable")[(len(np.asarray(samples)) - 1) // 2])


def ratio_interval(
    numerators: ArrayLike, denominators: ArrayLike, seed: int = 0
) -> tuple[float, float, float]:
    """Ratio of the medians with its 95 % bootstrap interval (low, ratio, high) over the given samples."""
    above, below = np.asarray(numerators, float), np.asarray(denominators, float)
    generator = np.random.default_rng(seed)
    resampled = [
        np.median(generator.choice(values, (2000, len(values))), axis=1)
        for values in (above, below)
    ]
    low, high = np.quantile(resampled[0] / resampled[1], (0.025, 0.975))
    return float(low), float(np.median(above) / np.median(below)), float(high)
