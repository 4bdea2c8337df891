"""Stored records as a pandas DataFrame, a row per run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.measure.metrics import METRIC_NAMES, SPEEDUP
from harness.measure.stats import Ratio
from harness.results.find import sweep_of
from harness.results.record import Record

if TYPE_CHECKING:
    from pandas import DataFrame

TEXTS = ("name", "label", "preset", "phase", "device", "kernel", "reason")
"""Fields of a record that are columns of the same name."""


def frame(runs: Sequence[tuple[Record, Path | None]], ratios: Sequence[Ratio | None]) -> DataFrame:
    """A row per run, the oldest first.

    runs: records, and their folders if they are known. ratios: the speed-up of each. Columns:

    * `folder`, `sweep` (missing for a single run), `created` (UTC), `verdict` and TEXTS;
    * `strategy.<knob>`: the effective knobs;
    * other keys of overrides, with their resolved values;
    * every metric by name, as float: missing where it was not measured or is not visible;
    * `speedup/vs_baseline` with `_low` and `_high`: missing without a baseline.
    """
    import pandas

    settings = sorted({key for record, _ in runs for key in record.settings})
    rows = []
    for (record, folder), ratio in zip(runs, ratios, strict=True):
        sweep = sweep_of(folder) if folder else None
        rows.append(
            {
                "folder": str(folder) if folder else None,
                "sweep": str(sweep) if sweep else None,
                "created": record.created,
                "verdict": record.verdict.value,
                **{name: getattr(record, name) for name in TEXTS},
                **{f"strategy.{key}": _plain(knob) for key, knob in asdict(record.knobs).items()},
                **{key: _setting(record, key) for key in settings},
                **{name: record.metrics.get(name) for name in METRIC_NAMES},
                SPEEDUP: ratio and ratio.ratio,
                f"{SPEEDUP}_low": ratio and ratio.low,
                f"{SPEEDUP}_high": ratio and ratio.high,
            }
        )
    table = pandas.DataFrame(rows, columns=None if rows else ["folder", "created", *METRIC_NAMES])
    table["created"] = pandas.to_datetime(table["created"], utc=True, format="ISO8601")
    numbers = [name for name in table.columns if name in METRIC_NAMES or name.startswith(SPEEDUP)]
    table[numbers] = table[numbers].astype(float)
    table[settings] = table[settings].convert_dtypes()
    return table.sort_values("created", kind="stable", ignore_index=True)


def _setting(record: Record, key: str) -> Any:
    """The resolved value of a key; the text of the override for a group or an unknown key."""
    value: Any = record.config
    for part in key.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return record.settings.get(key)
        value = value[part]
    return record.settings.get(key) if isinstance(value, Mapping | list) else value


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, Enum) else value
