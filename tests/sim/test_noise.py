"""The noise of the simulator, against the statistics of the published samples that it stands for.

The tests find bursts and outliers in the series and ask nothing of the generator. A tolerance is
five standard errors of what it bounds, worked out beside it, unless it is a limit of the
description itself.
"""

from __future__ import annotations

from itertools import combinations, islice
from math import erf, exp, log, sqrt

import numpy as np
import pytest

from harness.config.device import Noise
from harness.sim import noise as module
from harness.sim.noise import NoiseFactors

CALLS = 200_000
WINDOW = 100
SLOW = 1.15
"""What the published samples count as slow, in medians; bursts begin at 1.2."""

BURSTS = CALLS * 0.18 / 7.5
"""About 4800 in the default series: 18 % of calls, 7.5 calls each."""


def draw(calls: int = CALLS, **knobs: float) -> np.ndarray:
    return np.array(list(islice(iter(NoiseFactors(Noise(**knobs)), None), calls)))


def bursts(series: np.ndarray) -> list[np.ndarray]:
    """Runs of slow calls, without what an end of the series may have cut."""
    edges = np.flatnonzero(np.diff(series > SLOW)) + 1
    return [run for run in np.split(series, edges)[1:-1] if run[0] > SLOW]


def lag1(series: np.ndarray) -> float:
    centred = series - series.mean()
    return float(centred[1:] @ centred[:-1] / (centred @ centred))


@pytest.fixture(scope="module")
def series() -> np.ndarray:
    return draw(seed=1)


@pytest.fixture(scope="module")
def windows(series: np.ndarray) -> np.ndarray:
    """As long as the published samples; 2000 of them."""
    return series.reshape(-1, WINDOW)


def test_the_calibrated_centre_is_kept(series: np.ndarray) -> None:
    """The share below 1 has a standard error of 0.13 %, mostly bursts': 0.013 % of the median."""
    assert np.median(series) == pytest.approx(1, abs=0.00065)


@pytest.mark.parametrize(
    ("tight_pct", "fast_pct", "burst_pct"), [(2, 20, 0), (20, 0, 40), (5, 20, 44), (20, 0, 0)]
)
def test_the_centre_is_kept_with_other_shares(
    tight_pct: float, fast_pct: float, burst_pct: float
) -> None:
    """As far as a `burst_pct` of 44.

    The share below 1 has a standard error of 0.15 %. At the worst (20, 44) the density at the
    median is 0.09 by deviation of the tight mode, so that error is 0.0175 deviations. Uncorrected,
    the median would be off by 0.97 of them.
    """
    found = np.median(draw(seed=2, tight_pct=tight_pct, fast_pct=fast_pct, burst_pct=burst_pct))
    assert found == pytest.approx(1, abs=0.0875 * tight_pct / 100 / 0.6745)


def test_tight_mode(series: np.ndarray) -> None:
    """MAD by centre: its standard error is 1.17 / sqrt(158,000); the cut at 0.91 takes 0.5 %."""
    tight = series[(series > 0.91) & (series < SLOW)]
    centre = np.median(tight)
    assert np.median(np.abs(tight - centre)) / centre == pytest.approx(0.02, rel=0.02)
    assert abs(lag1(draw(seed=1, burst_pct=0))) < 5 / sqrt(CALLS), (
        "nothing but bursts is correlated"
    )


def test_share_of_slow_calls(series: np.ndarray, windows: np.ndarray) -> None:
    """Both published samples are in 11 to 25 %.

    With lengths of variance 8.25 and gaps of 373, the share of 200,000 calls has a standard error
    of 0.15 %, and that of a window of 100 one of 6.5 %: so about 75 % of windows are within those
    7 % of 18 %. With gaps of an exponential distribution, it would be 54 %; the limit is half-way.
    """
    assert np.mean(series > SLOW) == pytest.approx(0.18, abs=0.0075)
    shares = np.mean(windows > SLOW, axis=1)
    assert np.mean((shares >= 0.11) & (shares <= 0.25)) > 0.645


def test_the_first_call_is_as_any_other() -> None:
    first = [NoiseFactors(Noise(seed=seed, tight_pct=0))() for seed in range(2000)]
    assert np.mean(np.array(first) > SLOW) == pytest.approx(0.18, abs=5 * sqrt(0.18 * 0.82 / 2000))
    assert np.mean(np.array(first) < 1) == pytest.approx(0.03, abs=5 * sqrt(0.03 * 0.97 / 2000))


def test_fast_outliers() -> None:
    """Published: 3 in 100, 0.78 to 0.91. Without a tight mode they are all that is below 1."""
    steady = draw(seed=3, tight_pct=0)
    fast = steady[steady < 1]
    assert len(fast) / CALLS == pytest.approx(0.03, abs=5 * sqrt(0.03 * 0.97 / CALLS))
    assert 0.78 <= fast.min() < 0.785
    assert 0.905 < fast.max() <= 0.91
    pairs = np.mean((steady[1:] < 1) & (steady[:-1] < 1))
    single = 0.82 * (1 - 1 / 34.2) * (0.03 / 0.82) ** 2
    assert pairs == pytest.approx(single, abs=5 * sqrt(single / CALLS)), "they come singly"


def test_lengths_of_bursts(series: np.ndarray) -> None:
    lengths = np.array([len(burst) for burst in bursts(series)])
    assert set(lengths) == set(range(3, 13))
    assert lengths.mean() == pytest.approx(7.5, abs=5 * sqrt(8.25 / BURSTS))


def test_levels_of_bursts(series: np.ndarray) -> None:
    """x1.2 to x2.6; a level for each burst and little about it.

    The published mean of all slow calls is 1.81, that of log-uniform levels with room for jitter
    1.796; the standard error of 4800 levels weighted by their lengths is 0.005.
    """
    found = bursts(series)
    slow = np.concatenate(found)
    assert 1.2 * (1 - 1e-12) <= slow.min() < 1.25
    assert 2.5 < slow.max() <= 2.6 * (1 + 1e-12)
    assert slow.mean() == pytest.approx(1.81, abs=0.014 + 0.025)
    steps = np.concatenate([np.abs(np.diff(np.log(burst))) for burst in found])
    assert np.median(steps) == pytest.approx(0.048, rel=0.1), "of the 29 steps in published bursts"
    levels = np.array([np.log(burst).mean() for burst in found])
    assert levels.std() > 2 * np.sqrt(np.mean(steps**2)), "bursts differ more than their calls"
    assert abs(lag1(levels)) < 5 / sqrt(BURSTS)


def test_autocorrelation(series: np.ndarray, windows: np.ndarray) -> None:
    """Published: 0.87 and 0.52 in samples of 100."""
    assert 0.5 <= lag1(series) <= 0.9
    of_windows = np.array([lag1(window) for window in windows])
    assert np.mean((of_windows >= 0.5) & (of_windows <= 0.9)) > 0.9


PUBLISHED = {
    "mean by median": (1.245, 1.049),
    "p95": (2.453, 1.242),
    "maximum": (2.584, 1.795),
    "autocorrelation": (0.866, 0.517),
    "slow calls": (25, 11),
    "fast calls": (3, 3),
}
"""Of sets A and B, from the 2 x 100 times of performance_benchmarks.json by their set's median.

The MAD is not among them: a knob sets it, and the default is between the two."""


@pytest.mark.parametrize("figure", PUBLISHED)
def test_published_samples_could_be_windows(windows: np.ndarray, figure: str) -> None:
    """At least one of 2000 windows is as extreme as each published sample.

    For six figures of two samples, that is a level of 0.6 %.
    """
    by_median = windows / np.median(windows, axis=1, keepdims=True)
    found = {
        "mean by median": by_median.mean(axis=1),
        "p95": np.quantile(by_median, 0.95, axis=1),
        "maximum": by_median.max(axis=1),
        "autocorrelation": np.array([lag1(window) for window in windows]),
        "slow calls": np.sum(by_median > SLOW, axis=1),
        "fast calls": np.sum(by_median < 0.915, axis=1),
    }[figure]
    for published in PUBLISHED[figure]:
        assert found.min() <= published <= found.max()


def test_mean(series: np.ndarray) -> None:
    """By the median, between the published 1.05 and 1.25; without bursts it would be 0.99."""
    assert 1.05 < series.mean() / np.median(series) < 1.25


def test_the_seed_is_all(monkeypatch: pytest.MonkeyPatch) -> None:
    first = draw(10_000, seed=5)
    assert np.array_equal(first, draw(10_000, seed=5, enabled=True))
    others = [draw(10_000, seed=seed) for seed in (0, 6, 2**32 + 5, 5 * 2**32, 2**200)]
    assert all(np.mean(one == other) < 0.001 for one, other in combinations([first, *others], 2))
    assert np.array_equal(first[:100], draw(100, seed=5))
    for block in (1, 7, 1000, 50_000):
        monkeypatch.setattr(module, "BLOCK", block)
        assert np.array_equal(first, draw(10_000, seed=5)), f"blocks of {block}"


@pytest.mark.parametrize("tight_pct", [0.5, 2, 20])
def test_only_the_tight_mode(tight_pct: float) -> None:
    """Log-normal: the greatest distance of 20,000 is 1.95 / sqrt(20,000) once in a thousand."""
    series = np.sort(draw(20_000, seed=6, tight_pct=tight_pct, fast_pct=0, burst_pct=0))
    sigma = tight_pct / 100 / 0.67449
    expected = [(1 + erf(log(factor) / sigma / sqrt(2))) / 2 for factor in series]
    assert np.abs(expected - (np.arange(20_000) + 0.5) / 20_000).max() < 1.95 / sqrt(20_000)
    assert np.median(np.abs(series - 1)) == pytest.approx(
        tight_pct / 100, rel=5 * 1.17 / sqrt(20_000) + 0.01
    )


def test_nothing_is_exactly_nothing() -> None:
    assert set(draw(20_000, tight_pct=0, fast_pct=0, burst_pct=0)) == {1.0}


def test_knobs_are_independent() -> None:
    """What a share adds leaves the other calls unchanged, except the place of the tight mode."""
    alone, all_on = draw(20_000, fast_pct=0, burst_pct=0), draw(20_000)
    ratio, times = np.unique(np.round(all_on / alone, 9), return_counts=True)
    assert times.max() == pytest.approx(20_000 * 0.79, rel=0.05)
    assert exp(-0.01) < ratio[times.argmax()] < 1


@pytest.mark.parametrize("tight_pct", [0, 1e-300, 20])
@pytest.mark.parametrize("fast_pct", [0, 1e-300, 20])
@pytest.mark.parametrize("burst_pct", [0, 1e-300, 1e-9, 50])
def test_extremes(tight_pct: float, fast_pct: float, burst_pct: float) -> None:
    """The shares' standard errors are 0.43 % for bursts and 0.33 % for outliers.

    Bursts have 1333 cycles, with a variance of 5.6 each.
    """
    knobs = {"tight_pct": tight_pct, "fast_pct": fast_pct, "burst_pct": burst_pct}
    series = draw(20_000, seed=2**80, **knobs)
    assert np.isfinite(series).all()
    assert series.min() > 0.15, (
        "5 deviations of 0.297 below a centre at -1.28 of them, in logarithms"
    )
    if tight_pct < 1:
        assert np.mean(series > SLOW) == pytest.approx(burst_pct / 100, abs=5 * 0.0043)
        assert np.mean(series < 1 - 1e-9) == pytest.approx(fast_pct / 100, abs=5 * 0.0033)
