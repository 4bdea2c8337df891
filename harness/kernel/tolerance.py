"""How much the outputs of a device may differ from the reference."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Tolerance:
    """kind: `exact`, or what `limit` limits. reason: why the outputs may differ."""

    kind: str = "exact"
    limit: float = 0.0
    reason: str = ""


EXACT = Tolerance()
"""The same bits."""
