"""What each key of the configuration counts for when runs are identified or compared."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Counts:
    """Whether a key is part of a run's identity, and where its values must be equal.

    identity: another value is another configuration (`config_hash`). speedup: a run and its
    baseline must agree on it. phases: rows of one roadmap must agree on it.
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
    "workload.accounting": FREE_BETWEEN_PHASES,  # a roadmap has a column for each
    "workload.fused": FREE_BETWEEN_PHASES,  # fusion is a phase
    "measure": RESULT,  # a cold pass is slower than a warm one by more than most strategies gain
    "seed": RESULT,
    "verify": FREE_BETWEEN_PHASES,  # outputs are compared outside of the timed passes
    "strategy": COMPARED,
    "depth": COMPARED,
    "phase": COMPARED,
    "tracking": NO_EFFECT,
}
"""By dotted key. A key without a row counts as its parent, at the top as RESULT."""


def config_hash(config: Mapping[str, Any]) -> str:
    """sha256 of what identifies a resolved configuration, whatever the order of its keys."""
    return _hash(config, "identity")


def speedup_setting(config: Mapping[str, Any]) -> str:
    """Equal for two configurations whose times make a speed-up."""
    return _hash(config, "speedup")


def phase_setting(config: Mapping[str, Any]) -> str:
    """Equal for two configurations whose runs are rows of one roadmap."""
    return _hash(config, "phases")


def _hash(config: Mapping[str, Any], use: str) -> str:
    content = json.dumps(_part(config, use, "", RESULT), sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def _part(config: Mapping[str, Any], use: str, prefix: str, inherited: Counts) -> dict[str, Any]:
    """The keys that count for a use; those without a row of their own count as their parent."""
    part: dict[str, Any] = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        counts = KEYS.get(name, inherited)
        if isinstance(value, Mapping) and any(row.startswith(f"{name}.") for row in KEYS):
            part[key] = _part(value, use, f"{name}.", counts)
        elif getattr(counts, use):
            part[key] = value
    return part
