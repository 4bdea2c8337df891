"""One copy of what the records of a sweep have in common, where all of them are in memory."""

from __future__ import annotations

from dataclasses import replace
from sys import intern
from typing import Any

from harness.results.record import Record

MOST_PARTS = 1000
"""Different parts that are remembered, so that parts which all differ cost nothing."""


class SharedParts:
    """Call it with each record: the result is equal, and shares the parts of records before.

    Parts are the groups and values of the configuration, the knobs, the accounting and the
    environment. Do not change them afterwards.

        shared = SharedParts()
        records = [shared(Record.load(folder)) for folder in folders]
    """

    def __init__(self) -> None:
        self._parts: dict[str, Any] = {}

    def __call__(self, record: Record) -> Record:
        """The record with shared parts."""
        names = ("knobs", "accounting", "environment")
        parts = {name: self._one(getattr(record, name)) for name in names}
        config = {key: self._one(part) for key, part in record.config.items()}
        return replace(record, config=config, **parts)

    def _one(self, part: Any) -> Any:
        if isinstance(part, dict):
            # Each record that is read has its own copies of the keys.
            part = {intern(key): self._one(value) for key, value in part.items()}
        text = repr(part)
        if len(self._parts) < MOST_PARTS:
            return self._parts.setdefault(text, part)
        return self._parts.get(text, part)
