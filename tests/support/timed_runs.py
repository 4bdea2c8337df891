"""Records of runs with chosen times, for comparisons."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

from harness.results.record import Record
from support.record_samples import CONFIG, a_record

TIMES = (100.0, 103.0, 98.0, 101.0, 99.5, 100.5)


def run(tile_ms: float = 100.0, number: int = 0, **values: Any) -> Record:
    """A record with that time per tile; values: keys of the configuration, with __ for a dot."""
    config = copy.deepcopy(CONFIG)
    for key, value in values.items():
        part: Any = config
        *groups, last = key.split("__")
        for group in groups:
            part = part.setdefault(group, {})
        part[last] = value
    record = a_record(config=config)
    metrics = {**record.metrics, "time/tile_ms": tile_ms}
    created = f"2026-01-31T10:00:{number:02}.000+00:00"
    return replace(record, metrics=metrics, created=created, machine=None)
