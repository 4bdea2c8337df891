"""What a search measured, by each knob that it varied: the data of its picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from harness.study.sweep_curves import BOUND_RATIO, TILE_MS

if TYPE_CHECKING:  # the process that draws needs only the data
    from harness.results.record import Record


@dataclass(frozen=True)
class Tried:
    """One measured setting. place: of its value in `KnobPanel.values`. The others as in `Point`."""

    place: int
    tile_ms: float
    bound_ms: float | None


@dataclass(frozen=True)
class KnobPanel:
    """All measured settings by one knob, in order of value and time.

    values: in order, as texts; each has a setting.
    """

    knob: str
    values: tuple[str, ...]
    settings: tuple[Tried, ...]

    @property
    def fastest(self) -> list[Tried]:
        """For each value, in order, the setting with the shortest time."""
        return [
            min((each for each in self.settings if each.place == place), key=_time)
            for place in range(len(self.values))
        ]


def knob_panels(records: Sequence[Record]) -> list[KnobPanel]:
    """A panel for each knob of which the right runs have several values; empty without any."""
    right = [each for each in records if each.ok and each.metrics.get(TILE_MS)]
    by_key = [{**asdict(each.knobs), "kernel": each.kernel} for each in right]
    panels = []
    for key in by_key[0] if by_key else ():
        column = [knobs[key] for knobs in by_key]
        values = sorted(set(column), key=_order)
        if len(values) > 1:
            settings = [
                _tried(record, values.index(value))
                for record, value in zip(right, column, strict=True)
            ]
            texts = tuple(_text(value) for value in values)
            in_order = sorted(settings, key=lambda each: (each.place, each.tile_ms))
            panels.append(KnobPanel(key, texts, tuple(in_order)))
    return panels


def _tried(record: Record, place: int) -> Tried:
    tile_ms, ratio = record.metrics[TILE_MS], record.metrics.get(BOUND_RATIO)
    assert tile_ms is not None  # as `knob_panels` checked
    return Tried(place, tile_ms, tile_ms / ratio if ratio else None)


def _time(tried: Tried) -> float:
    return tried.tile_ms


def _order(value: Any) -> tuple[float, str]:
    return (float(value), "") if isinstance(value, int | float) else (0.0, _text(value))


def _text(value: Any) -> str:
    return str(value.value if isinstance(value, Enum) else value)
