"""The data of a forest plot."""

from __future__ import annotations

import pytest
from support.timed_runs import TIMES, run

from harness.measure.comparison import Change, Limits
from harness.study.comparison import Result, Row, judge
from harness.study.forest import band, forest


def result(ratio: float, pairs: int = len(TIMES), reference: str = "old") -> Result:
    old = tuple(run(time) for time in TIMES[:pairs])
    new = tuple(run(ratio * time) for time in TIMES[:pairs])
    return judge(Row(f"x{ratio}", old, new, reference), Limits())


def test_the_rows_are_those_of_the_table() -> None:
    results = [result(0.9), result(1.1, pairs=1)]
    plot = forest(results, Limits(0.02, 0.03))
    assert (plot.reference, plot.threshold, plot.noise_floor) == ("old", 0.02, 0.03)
    faster, undecided = plot.rows
    assert (faster.name, faster.run, faster.verdict) == ("x0.9", "per_tile d1 b1 c1", Change.FASTER)
    assert faster.low == pytest.approx(0.9)
    assert (undecided.low, undecided.high, undecided.pairs) == (None, None, 1)
    assert undecided.reason == "1 of at least 5 pairs"


def test_rows_without_a_run_or_with_several_references() -> None:
    empty = judge(Row("none", (), (), "a"), Limits())
    plot = forest([empty, result(1, reference="b")], Limits())
    assert (plot.rows[0].run, plot.rows[0].ratio) == ("", None)
    assert plot.rows[0].verdict is Change.INVALID
    assert plot.reference == "the reference"


def test_a_band_is_symmetric_on_a_log_scale() -> None:
    assert band(0.25) == (0.8, 1.25)
