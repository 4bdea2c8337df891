"""A profile with arrays in place of some of its numbers, to compute many profiles at once."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from harness.config.device import Simulator


def with_numbers(device: Simulator, numbers: Mapping[str, Any]) -> Simulator:
    """A profile with other numbers, which may be arrays; they are not checked.

    The formulas of `Simulator` then return arrays.
    """
    changed = copy.copy(device)
    for key, value in numbers.items():
        name, _, inner = key.partition(".")
        whole = _with_inner(getattr(changed, name), inner, value) if inner else value
        # Past the checks of a frozen dataclass, which compare single numbers.
        object.__setattr__(changed, name, whole)
    return changed


def _with_inner(group: Any, key: str, value: Any) -> Any:
    """A mapping or a dataclass of a profile with another value."""
    if isinstance(group, dict):
        return {**group, key: value}
    changed = copy.copy(group)
    object.__setattr__(changed, key, value)
    return changed
