"""The rule that ends the timed passes, on noise of known kinds, against an independent oracle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import quantile_test

from harness.measure import stats
from harness.measure.stats import median_interval
from harness.measure.stopping import (
    STABLE_LEAST,
    Stop,
    StopReason,
    StopRule,
    interval_width,
    noise_is_stable,
)

RULE = StopRule(least=5, most=100, most_ns=10**10, width=0.005)
TRIALS = 50
Noise = Callable[[np.random.Generator, int], np.ndarray]


def independent(share: float) -> Noise:
    return lambda generator, count: 1 + share * generator.normal(0, 1, count)


def autoregressive(share: float, correlation: float) -> Noise:
    def noise(generator: np.random.Generator, count: int) -> np.ndarray:
        values = generator.normal(0, 1, count)
        for index in range(1, count):
            new = np.sqrt(1 - correlation**2) * values[index]
            values[index] = correlation * values[index - 1] + new
        return 1 + share * values

    return noise


def bursts(generator: np.random.Generator, count: int) -> np.ndarray:
    """A fifth of the passes take 10 % longer, five in a row on average."""
    changes = generator.random(count)
    slow = np.zeros(count)
    for index in range(1, count):
        slow[index] = changes[index] < (0.8 if slow[index - 1] else 0.05)
    return independent(0.01)(generator, count) + 0.1 * slow


def drift(generator: np.random.Generator, count: int) -> np.ndarray:
    return independent(0.005)(generator, count) + 0.001 * np.arange(count)


NOISES: dict[str, Noise] = {
    "quiet": independent(0.001),
    "noisy": independent(0.05),
    "skewed": lambda generator, count: 1 + generator.exponential(0.02, count),
    "correlated": autoregressive(0.002, 0.87),
    "correlated and noisy": autoregressive(0.01, 0.87),
    "bursts": bursts,
    "drift": drift,
}


@dataclass
class Trials:
    """Ends of passes. missed: intervals that lack the median of the distribution; far: medians
    that are further from it than the wanted width."""

    counts: list[int] = field(default_factory=list)
    reasons: list[StopReason] = field(default_factory=list)
    missed: int = 0
    far: list[StopReason] = field(default_factory=list)

    def share(self, *reasons: StopReason) -> float:
        return sum(each in reasons for each in self.reasons) / len(self.reasons)


def stopped(rule: StopRule, times: np.ndarray, pass_ns: int = 0) -> tuple[int, Stop]:
    for count in range(1, len(times) + 1):
        if stop := rule(times[:count], count * pass_ns):
            return count, stop
    raise AssertionError("no end")


@cache
def trials(name: str) -> Trials:
    noise, found = NOISES[name], Trials()
    # The oracle: the median of the distribution, from far more samples than any run has.
    right = float(np.median(noise(np.random.default_rng(99), 100_000)))
    for seed in range(TRIALS):
        times = noise(np.random.default_rng(seed), RULE.most)
        count, stop = stopped(RULE, times)
        interval = median_interval(times[:count])
        found.counts.append(count)
        found.reasons.append(stop.reason)
        found.missed += bool(interval) and not interval[0] <= right <= interval[1]
        if abs(np.median(times[:count]) / right - 1) > RULE.width:
            found.far.append(stop.reason)
    return found


@pytest.mark.slow
def test_quiet_passes_end_early_and_with_the_width() -> None:
    found = trials("quiet")
    assert found.share(StopReason.width) == 1
    assert max(found.counts) <= 40
    assert not found.far


@pytest.mark.slow
def test_noise_that_no_cap_averages_out_is_called_noisy() -> None:
    found = trials("noisy")
    assert found.share(StopReason.noisy) >= 0.95
    assert np.median(found.counts) <= 40, "the passes up to the cap are not worth their time"


@pytest.mark.slow
def test_a_drift_is_neither_known_nor_stable() -> None:
    found = trials("drift")
    assert found.share(StopReason.passes) >= 0.95


@pytest.mark.slow
def test_bursts_are_never_called_known() -> None:
    assert trials("bursts").share(StopReason.width) == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NOISES if name != "drift"])
def test_the_interval_misses_in_5_percent_of_the_trials(name: str) -> None:
    """At the moment of the end, which the interval itself decides: the usual error of such rules.

    One standard deviation of 50 trials at 5 % is 3.1 %.
    """
    assert trials(name).missed <= (0.05 + 0.05) * TRIALS


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NOISES if name != "drift"])
def test_a_median_that_is_called_known_is_known(name: str) -> None:
    assert trials(name).far.count(StopReason.width) <= 0.03 * TRIALS


# The interval of the median


def as_if_independent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stats, "_independent", lambda count, correlation: count)


@pytest.mark.parametrize("count", [6, 7, 20, 101])
def test_the_interval_of_independent_samples_is_that_of_scipy(
    monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    as_if_independent(monkeypatch)
    values = np.random.default_rng(count).exponential(1, count)
    wanted = quantile_test(values, p=0.5).confidence_interval(0.95)
    assert median_interval(values) == pytest.approx((wanted.low, wanted.high))


@given(st.integers(6, 60))
def test_the_ranks_cover_the_median_by_counting(count: int) -> None:
    """Of all 2**n ways in which n samples can lie below and above the median."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        as_if_independent(monkeypatch)
        low, high = median_interval(np.arange(1.0, count + 1)) or (0, 0)
    rank = round(low)
    assert (low, high) == pytest.approx((rank, count + 1 - rank))
    missed = [2 * sum(comb(count, index) for index in range(each)) for each in (rank, rank + 1)]
    assert missed[0] <= 0.05 * 2**count < missed[1], "the shortest that covers 95 %"


def test_correlated_samples_have_a_longer_interval() -> None:
    generator = np.random.default_rng(3)
    mixed = autoregressive(0.01, 0.87)(generator, 400)
    again = np.random.default_rng(4).permutation(mixed)
    assert interval_width(mixed) > 2 * interval_width(again)


@pytest.mark.parametrize("values", [[], [1.0], [1.0, 2.0] * 2, [1.0] * 5, list(range(30))])
def test_what_has_no_interval(values: list[float]) -> None:
    assert median_interval(values) is None
    assert not values or interval_width(values) is None


def test_equal_samples_have_an_interval_of_no_length() -> None:
    assert median_interval([3.0] * 30) == (3, 3)
    assert interval_width([3.0] * 30) == 0
    assert interval_width([0.0] * 30) is None, "no share of nothing"


# Each end of the passes


def test_the_least_number_of_passes_runs_whatever_happens() -> None:
    rule = StopRule(least=30, most=40, most_ns=0, width=1.0)
    assert stopped(rule, np.ones(40), pass_ns=10**12)[0] == 30


def test_the_seconds_are_a_cap() -> None:
    times = independent(0.05)(np.random.default_rng(1), 100)
    count, stop = stopped(RULE, times, pass_ns=10**9)
    assert (count, stop.reason) == (10, StopReason.seconds)


def test_the_passes_are_a_cap() -> None:
    times = drift(np.random.default_rng(1), 100)
    assert stopped(RULE, times) == (100, Stop(StopReason.passes, interval_width(times)))


def test_a_width_that_more_passes_would_reach_is_waited_for() -> None:
    """The noise is stable long before; only the number of passes that would be needed differs."""
    times = independent(0.01)(np.random.default_rng(2), 2000)
    patient = StopRule(least=5, most=2000, most_ns=10**10, width=0.005)
    count, stop = stopped(patient, times)
    assert stop.reason is StopReason.width
    assert stopped(RULE, times)[1].reason is StopReason.noisy
    assert stopped(RULE, times)[0] < count


@pytest.mark.parametrize("reason", [StopReason.exact, StopReason.requested])
def test_a_fixed_number_of_passes(reason: StopReason) -> None:
    rule = StopRule(7, 7, fixed=reason)
    assert stopped(rule, np.ones(9), pass_ns=10**12) == (7, Stop(reason, None))


def test_passes_as_requested_have_a_width_where_there_are_enough() -> None:
    times = independent(0.01)(np.random.default_rng(5), 50)
    count, stop = stopped(StopRule(50, 50), times)
    assert (count, stop) == (50, Stop(StopReason.requested, interval_width(times)))
    assert stop.width is not None
    assert stopped(StopRule(50, 50, fixed=StopReason.exact), times)[1].width is None


@pytest.mark.parametrize("offset", [0, 1e9])
def test_a_stable_noise_is_one_whose_spread_no_longer_changes(offset: float) -> None:
    """By the definition, with a standard deviation for each number of passes."""
    generator = np.random.default_rng(6)
    for scale in (np.ones(60), np.linspace(1, 1.5, 60), np.linspace(1, 4, 60)):
        values = 100 + offset + scale * generator.normal(0, 1, 60)
        spreads = [values[:count].std() / values[:count].mean() for count in range(1, 61)]
        change = np.sqrt(np.mean((np.array(spreads[30:]) - spreads[-1]) ** 2)) / spreads[-1]
        assert noise_is_stable(values) == (change <= 0.05)


def test_few_passes_are_not_stable() -> None:
    values = np.tile([1.0, 2.0], STABLE_LEAST)
    assert noise_is_stable(values[:STABLE_LEAST])
    assert not noise_is_stable(values[: STABLE_LEAST - 1])
