"""Intervals and percentiles claim no more than they hold: their error rates, by simulation."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from harness.measure import stats
from harness.measure.stats import (
    Ratio,
    effective_samples,
    median_index,
    percentile,
    ratio_interval,
    samples_needed,
)

Noise = Callable[[np.random.Generator, int], np.ndarray]
NOISES: dict[str, Noise] = {
    "normal": lambda generator, count: np.exp(generator.normal(0, 0.02, count)),
    "skewed": lambda generator, count: 1 + generator.exponential(0.02, count),
    "spikes": lambda generator, count: (
        np.exp(generator.normal(0, 0.01, count)) * (1 + 0.3 * (generator.random(count) < 0.1))
    ),
}
TRIALS = 600


@pytest.mark.slow
@pytest.mark.parametrize("count", [5, 10])
@pytest.mark.parametrize("noise", NOISES.values(), ids=NOISES)
def test_identical_noise_is_called_different_as_often_as_the_level_says(
    monkeypatch: pytest.MonkeyPatch, noise: Noise, count: int
) -> None:
    """5 % of trials at most; one standard deviation of 600 trials is 0.9 %."""
    monkeypatch.setattr(stats, "RESAMPLES", 500)  # enough for a rate, in a quarter of the time
    generator = np.random.default_rng(12345)
    different = 0
    for _ in range(TRIALS):
        found = ratio_interval(noise(generator, count), noise(generator, count))
        assert found.low is not None
        assert found.high is not None
        different += not found.low <= 1 <= found.high
    assert 0.01 * TRIALS <= different <= 0.06 * TRIALS


@pytest.mark.parametrize("fewer", [(4, 50), (50, 4)])
def test_fewer_than_five_samples_have_no_interval(fewer: tuple[int, int]) -> None:
    above, below = (np.arange(1, count + 1) for count in fewer)
    ratio = np.median(above) / np.median(below)
    assert ratio_interval(above, below) == Ratio(None, ratio, None)


def test_the_interval_is_that_of_95_percent() -> None:
    """Against the quantiles of resampled ratios, computed here with other random numbers."""
    generator = np.random.default_rng(7)
    above, below = generator.normal(100, 3, 40), generator.normal(50, 2, 40)
    medians = [
        np.median(generator.choice(values, (20_000, 40)), axis=1) for values in (above, below)
    ]
    ratios = medians[0] / medians[1]
    found = ratio_interval(above, below)
    assert found.ratio == np.median(above) / np.median(below)
    width = np.quantile(ratios, 0.975) - np.quantile(ratios, 0.025)
    assert found.low == pytest.approx(np.quantile(ratios, 0.025), abs=0.05 * width)
    assert found.high == pytest.approx(np.quantile(ratios, 0.975), abs=0.05 * width)


def test_one_side_without_noise() -> None:
    found = ratio_interval([200.0] * 5, [100, 101, 99, 100, 102])
    assert found.low < found.ratio == 2 < found.high
    found = ratio_interval([100, 101, 99, 100, 102], [200.0] * 5)
    assert found.low < found.ratio == 0.5 < found.high


def test_the_median_pass_of_an_even_number_is_the_lower() -> None:
    assert median_index([40, 10, 30, 20]) == 3


def autoregressive(generator: np.random.Generator, count: int, correlation: float) -> np.ndarray:
    values = generator.normal(0, 1, count)
    for index in range(1, count):
        values[index] += correlation * values[index - 1]
    return values


def test_correlated_samples_count_for_fewer() -> None:
    """The variance of their mean is that of so many independent samples."""
    generator = np.random.default_rng(3)
    count, correlation = 2_000, 0.87
    trials = [autoregressive(generator, count, correlation) for _ in range(300)]
    wanted = np.var(trials[0]) / np.var([trial.mean() for trial in trials])
    found = np.mean([effective_samples(trial) for trial in trials])
    assert found == pytest.approx(count * 0.13 / 1.87, rel=0.05)
    assert found == pytest.approx(wanted, rel=0.25)


@pytest.mark.parametrize(
    ("samples", "worth"),
    [
        ([], 0),
        ([3], 1),
        ([3, 3, 3, 3], 4),
        ([1, 2, 1, 2], 4),  # a negative correlation is worth no more samples
        ([1, 2, 3], 3),
        ([0, 0, 1, 1], 4 * (1 - 0.25) / (1 + 0.25)),
        ([5, 5, 6, 6], 4 * (1 - 0.25) / (1 + 0.25)),
    ],
)
def test_effective_samples_by_hand(samples: list[float], worth: float) -> None:
    assert effective_samples(samples) == pytest.approx(worth)


def test_a_percentile_of_correlated_samples_needs_more_of_them() -> None:
    samples = autoregressive(np.random.default_rng(5), 2 * samples_needed(0.95), 0.87)
    assert percentile(samples, 0.95) is None
    many = autoregressive(np.random.default_rng(5), 20 * samples_needed(0.95), 0.87)
    assert percentile(many, 0.95) == pytest.approx(np.quantile(many, 0.95))
    assert percentile(many, 0.99) is None


def test_no_samples_have_no_percentile() -> None:
    assert percentile([], 0.5) is None
