"""Lists the numbers of a simulated device's profile, and changes one of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from math import ceil
from typing import Any

from harness.config.device import Simulator

COSTS = ("_ns", "_mib", "_mhz", "_pct")
"""Endings of the keys of costs; other numbers are limits."""
CHANGES = ("-50 %", "+50 %")
"""Changes of a number, the keys of `Number.changed_values`."""


@dataclass(frozen=True)
class Number:
    """One number of the profile. key: YAML key below `device`. source: empty if it has none."""

    key: str
    value: float
    source: str

    @property
    def is_limit(self) -> bool:
        """Whether the number limits a count, such as columns, and is not a cost."""
        return not any(part.endswith(COSTS) for part in self.key.split("."))

    @property
    def is_assumed(self) -> bool:
        """Whether the number is assumed: its source says so, or it is a time without a source."""
        return "assumed" in self.source if self.source else "_ns" in self.key

    @property
    def changed_values(self) -> dict[str, float]:
        """Half the number and one and a half times the number, without unchanged values.

        Integers stay integers; limits and clocks stay at least 1.
        """
        low, high = self.value / 2, self.value * 3 / 2
        if isinstance(self.value, int):
            least = int(self.is_limit or "_mhz" in self.key)
            # Rounded away from the value, so that an integer of 1 changes too.
            low, high = max(least, int(low)), ceil(high)
        values = dict(zip(CHANGES, (low, high), strict=True))
        return {change: value for change, value in values.items() if value != self.value}


def numbers_of(device: Simulator, kernels: Sequence[str], everything: bool = False) -> list[Number]:
    """The assumed costs of a profile, without those of kernels that are not in `kernels`.

    everything: also include all numbers with a source.
    """
    # They cannot change anything, and each would take two more variations.
    others = {f"exec_ns.{name}" for name in device.exec_ns if name not in kernels}
    numbers = []
    for key, value in _entries(device):
        if key in others:
            continue
        number = Number(key, value, _source(device, key))
        is_assumed_cost = number.is_assumed and not number.is_limit
        if is_assumed_cost or (everything and number.source):
            numbers.append(number)
    return numbers


def _entries(device: Simulator) -> Iterator[tuple[str, float]]:
    """Key and value of every number of the profile, including mappings and noise."""
    for item in fields(device):
        value = getattr(device, item.name)
        if is_dataclass(value):
            value = {inner.name: getattr(value, inner.name) for inner in fields(value)}
        entries = {item.name: value}
        if isinstance(value, dict) and value:
            entries = {f"{item.name}.{key}": each for key, each in value.items()}
        for key, each in entries.items():
            is_number = isinstance(each, int | float) and not isinstance(each, bool)
            # A seed is not a cost.
            if is_number and not key.endswith(".seed"):
                yield key, each


def _source(device: Simulator, key: str) -> str:
    return device.sources.get(key) or device.sources.get(key.partition(".")[0], "")


def with_number(device: Simulator, key: str, value: float) -> Simulator:
    """The profile with one number changed; RequestError if the value is out of range."""
    name, _, inner = key.partition(".")
    changed: Any = value
    if inner:
        group = getattr(device, name)
        changed = (
            {**group, inner: value} if isinstance(group, dict) else replace(group, **{inner: value})
        )
    return replace(device, **{name: changed})
