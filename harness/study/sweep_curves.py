"""Time per tile over what a sweep varied, as curves or as categories, with the bound of each run.

Pictures and pages draw them; nothing here draws.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from typing import TYPE_CHECKING

from harness.config.sources import key_and_value

if TYPE_CHECKING:  # the process that draws needs only the data
    from harness.results.record import Record

TILE_MS, BOUND_RATIO = "time/tile_ms", "bound/ratio"
PREFERRED = ("depth", "batch", "columns", "prefetch")
"""Knobs that take the x axis, in this order, if several keys have equally many values."""
SEED = "seed"
"""Last part of the keys whose numbers have no order that matters."""
NO_EFFECT = ("tracking", "resume", "hydra")
"""Groups that do not change a result."""
NOTHING = "-"
"""Text of a key that a run does not have."""

Value = float | str


@dataclass(frozen=True)
class Point:
    """One run. row: its place in the records. x: value of the key, or place of the category.

    tile_ms: time of a tile. bound_ms: the shortest time with the same stage times; None if it is
    not known.
    """

    row: int
    x: float
    tile_ms: float
    bound_ms: float | None


@dataclass(frozen=True)
class Curve:
    """The runs that differ in nothing but x, by x. name: their other values; empty if none vary."""

    name: str
    points: tuple[Point, ...]

    @property
    def least_ms(self) -> float:
        """The shortest time of a tile."""
        return min(point.tile_ms for point in self.points)


@dataclass(frozen=True)
class SweepCurves:
    """The times of a sweep.

    key: the number on the x axis; empty if no number varies: each curve is then a category with
    one point. label: text of the x axis. best: rows that are marked. left_out: runs without right
    outputs or times.
    """

    key: str
    label: str
    curves: tuple[Curve, ...]
    best: frozenset[int] = frozenset()
    left_out: int = 0

    @property
    def x_values(self) -> list[float]:
        """The values of x, each once, from small to large."""
        return sorted({point.x for curve in self.curves for point in curve.points})

    def fastest(self, most: int) -> list[Curve]:
        """The curves in their order; of more than `most`, those that have the shortest times."""
        order = sorted(range(len(self.curves)), key=lambda place: self.curves[place].least_ms)
        return [self.curves[place] for place in sorted(order[:most])]


def sweep_curves(records: Sequence[Record], best: Collection[int] = ()) -> SweepCurves | None:
    """The curves of a sweep; None if no run has right outputs and a time.

        curves = sweep_curves(records, fastest(records))

    The x axis is the number with the most values: a knob, or any other key of the overrides. Runs
    that differ in further keys are on different curves. best: places of records to mark, as
    `harness.report.runs.fastest` finds them.
    """
    rows = [row for row, each in enumerate(records) if each.ok and each.metrics.get(TILE_MS)]
    if not rows:
        return None
    keys = _varied([records[row] for row in rows])
    axis = _axis([records[row] for row in rows], keys)
    others = [key for key in keys if key != axis]
    groups: dict[str, list[Point]] = {}
    for row in rows:
        record = records[row]
        name = ", ".join(_text(record, key) for key in others)
        if not axis:
            # Two runs of one category, of different sweeps or seeds, stay two.
            groups[_free(name or record.label, groups)] = [_point(record, row, len(groups))]
            continue
        x = _value(record, axis)
        assert isinstance(x, int | float)  # as `_axis` checked
        groups.setdefault(name, []).append(_point(record, row, x))
    curves = [Curve(name, tuple(sorted(each, key=_by_x))) for name, each in groups.items()]
    label = _label(axis) if axis else ", ".join(_short(key) for key in others)
    marked = frozenset(best) & frozenset(rows)
    return SweepCurves(axis, label, tuple(curves), marked, len(records) - len(rows))


def _varied(records: Sequence[Record]) -> list[str]:
    """Keys of the overrides whose values differ between the records."""
    typed = (key_and_value(each)[0] for record in records for each in record.overrides)
    keys = [key for key in dict.fromkeys(typed) if key.split(".")[0] not in NO_EFFECT]
    return [key for key in keys if len({_value(record, key) for record in records}) > 1]


def _axis(records: Sequence[Record], keys: Sequence[str]) -> str:
    """The key of the x axis; empty if no number varies."""
    numbers = {key: {_value(record, key) for record in records} for key in keys}
    numeric = [key for key in keys if all(isinstance(each, int | float) for each in numbers[key])]

    def rank(key: str) -> tuple[bool, int, int]:
        knob = _short(key)
        place = PREFERRED.index(knob) if knob in PREFERRED else len(PREFERRED)
        return knob != SEED, len(numbers[key]), -place

    return max(numeric, key=rank, default="")


def _value(record: Record, key: str) -> Value:
    """The effective value of a key; the text of the override if it is not a number."""
    if key == "strategy":
        return record.preset
    knob = _short(key)
    # An encoder or a preset may not use the depth that was asked for.
    if key == "depth" or key.startswith("strategy."):
        value = asdict(record.knobs).get(knob)
    else:
        value = record.config
        for part in key.split("."):
            value = value.get(part) if isinstance(value, dict) else None
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    typed = dict(map(key_and_value, record.overrides))
    if key in typed:
        return typed[key]
    if value is None or isinstance(value, dict | list):
        return NOTHING
    return str(value.value if isinstance(value, Enum) else value)


def _text(record: Record, key: str) -> str:
    """A value as the name of a curve has it: `pipelined`, or `batch=4`."""
    value = _value(record, key)
    # With all digits, because runs with equal texts share a curve.
    text = f"{value:.15g}" if isinstance(value, float) else str(value)
    return text if key == "strategy" else f"{_short(key)}={text}"


def _short(key: str) -> str:
    return key.rpartition(".")[2]


def _label(key: str) -> str:
    """Text of the x axis."""
    meanings = {
        "depth": "depth: submissions in flight per column",
        "batch": "batch: tiles per submission",
        "columns": "columns of the device",
        "prefetch": "prefetch: submissions staged ahead per column",
    }
    knob = key == "depth" or key.startswith("strategy.")
    return meanings.get(_short(key), key) if knob else key


def _point(record: Record, row: int, x: float) -> Point:
    tile_ms, ratio = record.metrics[TILE_MS], record.metrics.get(BOUND_RATIO)
    assert tile_ms is not None  # as `sweep_curves` checked
    return Point(row, x, tile_ms, tile_ms / ratio if ratio else None)


def _free(name: str, taken: Collection[str]) -> str:
    number = 1
    while (text := f"{name} ({number})" if number > 1 else name) in taken:
        number += 1
    return text


def _by_x(point: Point) -> tuple[float, int]:
    return point.x, point.row
