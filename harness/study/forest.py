"""The data of a forest plot: the ratio of each comparison with its interval and its verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.measure.comparison import Change, Limits
from harness.study.comparison import Result


@dataclass(frozen=True)
class ForestRow:
    """One comparison. name: its setting. run: its effective knobs, empty without a run.

    ratio: time of the setting / time of the reference; None without a pair of times. low, high: its
    95 % interval, equal to it where `exact`; None for fewer than five pairs. reason: why the
    verdict is INVALID or UNDECIDED, else empty.
    """

    name: str
    run: str
    ratio: float | None
    low: float | None
    high: float | None
    exact: bool
    pairs: int
    verdict: Change
    reason: str


@dataclass(frozen=True)
class Forest:
    """Comparisons to draw, in the order of the table.

    reference: what the ratios are relative to; "the reference" if the rows have several. threshold,
    noise_floor: shares of a time; the floor is 0 if none is known or all times are exact.
    """

    rows: tuple[ForestRow, ...]
    reference: str
    threshold: float
    noise_floor: float


def forest(results: Sequence[Result], limits: Limits) -> Forest:
    """The data of the forest plot of some comparisons; `limits`: those of their verdicts."""
    names = {each.row.reference_name for each in results} - {""}
    return Forest(
        tuple(_row(each) for each in results),
        names.pop() if len(names) == 1 else "the reference",
        limits.threshold,
        limits.noise_floor,
    )


def band(share: float) -> tuple[float, float]:
    """The ratios that differ from 1 by at most a share, as the verdicts count it: on a log scale.

    `band(0.25)` is (0.8, 1.25).
    """
    return 1 / (1 + share), 1 + share


def _row(result: Result) -> ForestRow:
    row, comparison = result.row, result.comparison
    return ForestRow(
        name=row.name,
        run=row.candidate[0].label if row.candidate else "",
        ratio=comparison.ratio,
        low=comparison.low,
        high=comparison.high,
        exact=comparison.exact,
        pairs=comparison.pairs,
        verdict=comparison.change,
        reason=comparison.reason,
    )
