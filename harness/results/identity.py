"""Decides which keys of the configuration identify a run, and which must agree to compare runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Counts:
    """Which comparisons a key of the configuration affects.

    identity: the key is part of `config_hash`. speedup: a run and its baseline must have the same
    value. phases: rows of one roadmap must have the same value.
    """

    identity: bool
    speedup: bool
    phases: bool


RESULT = Counts(identity=True, speedup=True, phases=True)
FREE_BETWEEN_PHASES = Counts(identity=True, speedup=True, phases=False)
COMPARED = Counts(identity=True, speedup=False, phases=False)
NO_EFFECT = Counts(identity=False, speedup=False, phases=False)

KEYS = {
    "device": RESULT,
    "workload": RESULT,
    # A roadmap has a column for each accounting.
    "workload.accounting": FREE_BETWEEN_PHASES,
    # Fusion is a phase of its own.
    "workload.fused": FREE_BETWEEN_PHASES,
    # A cold pass is slower than a warm one by more than most strategies gain.
    "measure": RESULT,
    "seed": RESULT,
    # Outputs are compared outside of the timed passes.
    "verify": FREE_BETWEEN_PHASES,
    "strategy": COMPARED,
    "depth": COMPARED,
    "phase": COMPARED,
    "tracking": NO_EFFECT,
    "resume": NO_EFFECT,
}
"""By dotted key. A key without an entry counts as its parent does, a top-level key as RESULT."""


def config_hash(config: Mapping[str, Any]) -> str:
    """sha256 of the keys that identify a resolved configuration, independent of their order."""
    return _hash(config, "identity")


def speedup_setting(config: Mapping[str, Any]) -> str:
    """A hash that is equal for two configurations if the ratio of their times is a speed-up."""
    return _hash(config, "speedup")


def phase_setting(config: Mapping[str, Any]) -> str:
    """A hash that is equal for two configurations if their runs can be rows of one roadmap."""
    return _hash(config, "phases")


def _hash(config: Mapping[str, Any], use: str) -> str:
    content = json.dumps(_part(config, use, "", RESULT), sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def _part(config: Mapping[str, Any], use: str, prefix: str, inherited: Counts) -> dict[str, Any]:
    """The part of a configuration that counts for `use`, a field of `Counts`.

    inherited: what keys without an entry of their own count as.
    """
    part: dict[str, Any] = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        counts = KEYS.get(name, inherited)
        if isinstance(value, Mapping) and any(row.startswith(f"{name}.") for row in KEYS):
            part[key] = _part(value, use, f"{name}.", counts)
        elif getattr(counts, use):
            part[key] = value
    return part
