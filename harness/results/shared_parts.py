"""One copy of what the records of a sweep have in common: its process holds all of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.results.record import Record

MOST_PARTS = 1000
"""Different parts that are remembered, so that parts which all differ cost nothing."""


class SharedParts:
    """Call it with each record: the result is equal, and shares the parts of records before.

    Parts are the groups of the configuration and the environment. Do not change them afterwards.

        shared = SharedParts()
        records = [shared(Record.load(folder)) for folder in folders]
    """

    def __init__(self) -> None:
        self._parts: dict[str, Any] = {}

    def __call__(self, record: Record) -> Record:
        """The record with shared parts."""
        config = {key: self._one(part) for key, part in record.config.items()}
        return replace(record, config=config, environment=self._one(record.environment))

    def _one(self, part: Any) -> Any:
        text = repr(part)
        if len(self._parts) < MOST_PARTS:
            return self._parts.setdefault(text, part)
        return self._parts.get(text, part)


class SharedRuns(list[tuple[Record, Path]]):
    """Records with their folders; those that are appended share their parts."""

    def __init__(self) -> None:
        super().__init__()
        self._shared = SharedParts()

    def append(self, run: tuple[Record, Path]) -> None:
        """Add a run."""
        super().append((self._shared(run[0]), run[1]))
