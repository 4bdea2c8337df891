"""Which assumptions of the model of a pass the residuals of a calibration contradict.

A residual that depends on a knob of the strategy shows what the model leaves out: its profile has
one number for a cost that really depends on that knob.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.measure.stats import spread
from harness.results.record import Record
from harness.study.calibration import Check

Floats = NDArray[np.float64]

LEAST_PROBABILITY = 0.01
"""A dependence counts below this probability, divided by the number of tests."""
LEAST_EFFECT = 0.03
"""Relative difference between two values of a knob that counts."""
LEAST_SHARE = 0.5
"""Effects below this share of the largest are left out: they may follow from it."""
LEAST_FREEDOM = 2
NOISY_SPREAD = 0.2
"""Median spread of the records' passes from which noise may explain the residuals."""
TOTAL, OVERLAP = "time", "overlap"
"""The median interval of all records, or else their totals; whether the host works while a column
computes."""
STAGES = ("alloc", "write", "read", "launch")
ASSUMPTIONS = {
    (TOTAL, "columns"): "columns share memory or cores, but the model assumes that they compute "
    "independently",
    (TOTAL, "depth"): "an execution takes longer or shorter with more submissions in flight, but "
    "the model assumes one time at every depth",
    (TOTAL, "batch"): "the executions of a batch do not add up, but the model assumes one time per "
    "tile and one per command",
    ("launch", "depth"): "a launch costs more or less with more submissions in flight, but the "
    "model assumes one cost at every depth",
    ("launch", "batch"): "the launch of a batch is not one launch, as the model assumes",
    ("write", "batch"): "the cost of writing a batch is not additive: the model assumes a fixed "
    "part and one per byte",
    ("read", "batch"): "the cost of reading a batch is not additive: the model assumes a fixed "
    "part and one per byte",
    **{
        (stage, OVERLAP): "stages of the host get slower while the device computes, but the model "
        "assumes that they cost the same"
        for stage in STAGES
    },
    **{
        (stage, "columns"): "stages of the host depend on the number of columns, but the model "
        "assumes that they cost the same"
        for stage in STAGES
    },
}
"""By time and knob: what the model assumes."""


@dataclass(frozen=True)
class Contradiction:
    """A dependence of residuals on a knob.

    kind: `TOTAL`, or a stage of the host. levels: values of the knob, from the smallest.
    effects_pct: how much longer each takes than predicted, relative to the first level.
    """

    kind: str
    knob: str
    levels: tuple[int, ...]
    effects_pct: tuple[float, ...]

    @property
    def largest_pct(self) -> float:
        """The largest of the effects, without its sign."""
        return max(map(abs, self.effects_pct))

    @property
    def text(self) -> str:
        """What was observed, and which assumption it contradicts."""
        reason = ASSUMPTIONS[self.kind, self.knob]
        steps = np.diff([0.0, *self.effects_pct[1:]])
        verb = "grows" if np.all(steps > 0) else "falls" if np.all(steps < 0) else "changes"
        subject = "the residual" if self.kind == TOTAL else f"the residual of {self.kind}"
        values = ", ".join(f"{each:+.0f}" for each in self.effects_pct[1:])
        if self.knob == OVERLAP:
            return f"{subject} is {values} % while the device computes: {reason}"
        places = ", ".join(map(str, self.levels[1:]))
        return (
            f"{subject} {verb} with {self.knob}: {values} % at {self.knob} {places}, relative to "
            f"{self.levels[0]}: {reason}"
        )


def contradictions(checks: Sequence[Check]) -> list[Contradiction]:
    """The assumptions that the residuals of all records together contradict, by size of the effect.

    For each kind of time, the logarithm of measured / predicted is regressed on the logarithms of
    the knobs and their squares; an F-test of nested models decides which of them count.
    """
    tests = [
        (kind, [knob for one, knob in ASSUMPTIONS if one == kind])
        for kind in dict.fromkeys(kind for kind, _ in ASSUMPTIONS)
    ]
    results = list[Contradiction]()
    for kind, knobs in tests:
        results += _of_kind(kind, knobs, checks, LEAST_PROBABILITY / len(ASSUMPTIONS))
    results.sort(key=lambda each: -each.largest_pct)
    # One sentence for several stages with the same cause: the one with the largest effect.
    by_reason = {ASSUMPTIONS[each.kind, each.knob]: each for each in reversed(results)}
    least_pct = LEAST_SHARE * results[0].largest_pct if results else 0.0
    return [
        each
        for each in results
        if by_reason[ASSUMPTIONS[each.kind, each.knob]] is each and each.largest_pct >= least_pct
    ]


def noise(checks: Sequence[Check]) -> float | None:
    """Median spread of the records' passes; None without one."""
    spreads = [spread(check.record.samples.total_ns) for check in checks]
    known = [each for each in spreads if each is not None]
    return float(np.median(known)) if known else None


def _of_kind(
    kind: str, knobs: Sequence[str], checks: Sequence[Check], least: float
) -> list[Contradiction]:
    """The knobs on which one kind of residual depends, the most certain first."""
    ratios = _ratios(checks, kind)
    rows = [(check.record, ratio) for check, ratio in zip(checks, ratios, strict=True) if ratio]
    values = np.log([ratio for _, ratio in rows])
    places = {knob: np.array([_value(record, knob) for record, _ in rows]) for knob in knobs}
    terms = {knob: _terms(each) for knob, each in places.items() if len(np.unique(each)) > 1}
    chosen = list[str]()
    while left := [knob for knob in terms if knob not in chosen]:
        probability, best = min((_probability(values, terms, chosen, knob), knob) for knob in left)
        if probability >= least:
            break
        chosen.append(best)
    results = [_contradiction(kind, knob, values, places, terms, chosen) for knob in chosen]
    least_pct = 100 * LEAST_EFFECT
    return [each for each in results if each.largest_pct >= least_pct]


def _ratios(checks: Sequence[Check], kind: str) -> list[float | None]:
    """measured / predicted of each record, all of the same kind of time."""
    if kind == TOTAL:
        # A busy machine lengthens totals and hardly the median interval: never compare the two.
        with_interval = all("interval" in check.ratios for check in checks)
        kind = "interval" if with_interval else "total"
    return [check.ratios.get(kind) for check in checks]


def _value(record: Record, knob: str) -> int:
    knobs = record.knobs
    if knob == OVERLAP:
        return int(knobs.depth > 1 or knobs.columns > 1)
    return int(getattr(knobs, knob))


def _terms(values: NDArray[np.int64]) -> Floats:
    """The columns of a knob in a regression: its logarithm, and the square if that is possible."""
    levels = np.log2(values + 1) if values.min() == 0 else np.log2(values)
    centred = levels - levels.mean()
    count = 2 if len(np.unique(values)) > 2 else 1
    return np.column_stack([centred**power for power in range(1, count + 1)])


def _fit(values: Floats, terms: Mapping[str, Floats], knobs: Sequence[str]) -> tuple[Floats, int]:
    """The coefficients of a regression on some knobs, the constant first, and its rank."""
    design = _design(values, terms, knobs)
    solved = np.linalg.lstsq(design, values, rcond=None)
    return np.asarray(solved[0], np.float64), int(solved[2])


def _design(values: Floats, terms: Mapping[str, Floats], knobs: Sequence[str]) -> Floats:
    return np.column_stack([np.ones(len(values)), *(terms[knob] for knob in knobs)])


def _probability(
    values: Floats, terms: Mapping[str, Floats], chosen: Sequence[str], knob: str
) -> float:
    """The probability of so much less residual by one more knob, if it had no effect."""
    from scipy.stats import f

    squares, ranks = list[float](), list[int]()
    for knobs in ([*chosen], [*chosen, knob]):
        factors, rank = _fit(values, terms, knobs)
        rest = values - _design(values, terms, knobs) @ factors
        squares.append(float(rest @ rest))
        ranks.append(rank)
    more, freedom = ranks[1] - ranks[0], len(values) - ranks[1]
    if more <= 0 or freedom < LEAST_FREEDOM:
        return 1.0
    # Times are whole nanoseconds: no residual is smaller than their rounding.
    rest_square = max(squares[1], len(values) * 1e-10)
    ratio = (squares[0] - squares[1]) / more / (rest_square / freedom)
    return float(f.sf(ratio, more, freedom))


def _contradiction(
    kind: str,
    knob: str,
    values: Floats,
    places: Mapping[str, NDArray[np.int64]],
    terms: Mapping[str, Floats],
    chosen: Sequence[str],
) -> Contradiction:
    """The effect of a knob by its levels, without that of the other chosen ones."""
    factors, _ = _fit(values, terms, chosen)
    begin, rest = 1, values - factors[0]
    for each in chosen:
        size = terms[each].shape[1]
        if each != knob:
            rest = rest - terms[each] @ factors[begin : begin + size]
        begin += size
    levels = np.unique(places[knob])
    means = np.array([np.median(rest[places[knob] == level]) for level in levels])
    effects = 100 * np.expm1(means - means[0])
    return Contradiction(kind, knob, tuple(map(int, levels)), tuple(map(float, effects)))
