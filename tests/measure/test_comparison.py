"""Verdicts about pairs of runs, against scipy's interval and by breaking each rule."""

from __future__ import annotations

from dataclasses import replace
from math import exp, log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from harness.measure.comparison import (
    LEAST_PAIRS,
    MOST_PAIRS,
    Change,
    Gate,
    Limits,
    compare,
    gate,
    invalid,
    noise_floor_of,
)

REFERENCE = (100.0, 103.0, 98.0, 101.0, 99.5, 100.5)
STEADY = (1.0, 1.001, 0.999, 1.0005, 0.9995, 1.0)
"""Factors that vary by a tenth of a percent."""


def scaled(ratio: float, factors: tuple[float, ...] = STEADY) -> list[float]:
    return [time * ratio * factor for time, factor in zip(REFERENCE, factors, strict=True)]


@pytest.mark.parametrize(
    ("ratio", "change"),
    [
        (0.95, Change.FASTER),
        (1.05, Change.SLOWER),
        (1.0, Change.SAME),
        (1.008, Change.SAME),
        (1.01, Change.UNDECIDED),
        (1.013, Change.SLOWER),
    ],
)
def test_verdicts(ratio: float, change: Change) -> None:
    result = compare(REFERENCE, scaled(ratio))
    assert result.change is change
    assert result.ratio == pytest.approx(ratio, rel=1e-3)
    assert result.pairs == 6


@given(st.lists(st.tuples(*[st.floats(1, 1e9)] * 2), min_size=LEAST_PAIRS, max_size=30))
def test_the_interval_is_that_of_the_paired_t_test(pairs: list[tuple[float, float]]) -> None:
    reference, candidate = zip(*pairs, strict=True)
    result = compare(reference, candidate)
    logs = np.log(candidate) - np.log(reference)
    if not np.ptp(logs):
        return
    expected = stats.ttest_1samp(logs, 0).confidence_interval(0.95)
    assert (log(result.low or 0), log(result.high or 0)) == pytest.approx(
        (expected.low, expected.high), abs=1e-9
    )


def test_pairs_cancel_what_both_runs_share() -> None:
    drift = [1.0, 1.3, 0.8, 1.5, 2.0]
    assert compare(drift, [1.05 * each for each in drift]).change is Change.SLOWER
    shuffled = [1.05 * each for each in (drift[1:] + drift[:1])]
    assert compare(drift, shuffled).change is Change.UNDECIDED


def test_four_pairs_have_no_interval() -> None:
    result = compare(REFERENCE[:4], scaled(2.0)[:4])
    assert (result.change, result.low, result.more_pairs) == (Change.UNDECIDED, None, 1)
    assert result.reason == "4 of at least 5 pairs"
    with pytest.raises(ValueError, match="no pairs"):
        compare([], [])


def test_the_noise_floor_must_be_cleared_too() -> None:
    candidate = scaled(1.03)
    assert compare(REFERENCE, candidate).change is Change.SLOWER
    result = compare(REFERENCE, candidate, Limits(noise_floor=0.04))
    assert (result.change, result.more_pairs) == (Change.UNDECIDED, None)
    assert result.reason.startswith("no number of pairs decides")
    # A floor above the threshold does not widen what counts as the same.
    assert compare(REFERENCE, scaled(1.0), Limits(noise_floor=0.04)).change is Change.SAME


def test_the_threshold() -> None:
    assert compare(REFERENCE, scaled(1.03), Limits(threshold=0.05)).change is Change.SAME
    assert compare(REFERENCE, scaled(1.005), Limits(threshold=0.001)).change is Change.SLOWER


def test_as_many_more_pairs_as_it_says_decide() -> None:
    noisy = tuple(1 + each for each in (0.05, -0.04, 0.06, -0.05, 0.04, -0.06))
    result = compare(REFERENCE, scaled(1.03, noisy))
    assert result.change is Change.UNDECIDED
    more = result.more_pairs
    assert more
    logs = np.log(scaled(1.03, noisy)) - np.log(REFERENCE)

    def decided(count: int) -> bool:
        """Samples of that number with the same mean and deviation."""
        shape = np.resize([-1.0, 1.0], count) if count % 2 == 0 else np.arange(count) * 1.0
        shape = (shape - shape.mean()) / shape.std(ddof=1)
        samples = logs.mean() + logs.std(ddof=1) * shape
        return compare(np.ones(count), np.exp(samples)).change is not Change.UNDECIDED  # type: ignore[arg-type]

    assert decided(result.pairs + more)
    assert not decided(result.pairs + more - 1)


def test_a_difference_at_the_threshold_needs_too_many_pairs() -> None:
    ratios = [1.01 * each for each in (1.2, 1 / 1.2) * 3]
    result = compare([1.0] * 6, ratios)
    assert (result.change, result.more_pairs) == (Change.UNDECIDED, None)
    assert f"{MOST_PAIRS:,}" in result.reason


def test_exact_times_need_one_pair() -> None:
    for ratio, change in ((0.92, Change.FASTER), (1.005, Change.SAME), (1.2, Change.SLOWER)):
        result = compare([100], [100 * ratio], exact=True)
        assert (result.change, result.exact, result.pairs) == (change, True, 1)
        assert result.low == result.high == result.ratio == pytest.approx(ratio)
    assert not compare(REFERENCE, scaled(1.2), exact=True).exact, "these times do vary"


def test_gates() -> None:
    def of(ratio: float, floor: float = 0.0) -> Gate:
        return gate(compare(REFERENCE, scaled(ratio)), 0.02, floor)

    assert of(1.03) is Gate.regression
    assert of(1.0) is of(0.5) is of(1.015) is Gate.within
    assert of(1.02) is Gate.undecided
    assert of(1.03, floor=0.05) is Gate.undecided
    assert gate(compare([1.0], [1.0]), 0.02) is Gate.undecided
    assert gate(invalid(6, "a reason", 1.0), 0.02) is Gate.undecided
    exact = compare([100], [102], exact=True)
    assert gate(exact, 0.02) is Gate.within
    assert gate(replace(exact, change=Change.INVALID), 0.02) is Gate.undecided


def test_the_floor_is_the_far_end_of_the_interval() -> None:
    result = compare(REFERENCE, scaled(0.998))
    assert result.low
    assert noise_floor_of(result) == pytest.approx(1 / result.low - 1)
    assert noise_floor_of(compare(REFERENCE, scaled(1.003))) == pytest.approx(
        exp(log(compare(REFERENCE, scaled(1.003)).high or 0)) - 1
    )
    assert noise_floor_of(compare([1.0], [1.0])) is None


def test_false_verdicts_are_rare_and_true_ones_are_not() -> None:
    """Normal noise of 1 % a run: 5 pairs of equal runs, 10 pairs of runs 5 % apart."""
    generator = np.random.default_rng(0)
    noise = np.exp(0.01 * generator.standard_normal((2, 1000, 10)))
    equal = [compare(a[:5], b[:5]).change for a, b in zip(*noise, strict=True)]
    assert sum(each in (Change.FASTER, Change.SLOWER) for each in equal) <= 10
    apart = [compare(a, 1.05 * b).change for a, b in zip(*noise, strict=True)]
    assert apart.count(Change.SLOWER) >= 950
