"""The numbers of a simulated device's profile, and profiles in which one of them differs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from math import ceil
from typing import Any

from harness.config.device import Simulator

COSTS = ("ns", "mib", "mhz", "pct")
"""Endings of the names of costs; other numbers are limits."""
SHARES = ("-50 %", "+50 %")
"""Variations of a number, as names of `Number.variants`."""


@dataclass(frozen=True)
class Number:
    """One number of the profile: its YAML key below `device`; `source` is empty without one."""

    key: str
    value: float
    source: str

    @property
    def is_limit(self) -> bool:
        """Whether it is a count of something, not what something costs."""
        return not any(part.endswith(COSTS) for part in self.key.split("."))

    @property
    def is_assumed(self) -> bool:
        """Whether its source says so, or it is a cost without one."""
        return "assumed" in self.source if self.source else "_ns" in self.key

    @property
    def variants(self) -> dict[str, float]:
        """Its half and one and a half times it; integers stay integers, limits and clocks >= 1."""
        low, high = self.value / 2, self.value * 3 / 2
        if isinstance(self.value, int):
            low, high = max(int(self.is_limit or "_mhz" in self.key), int(low)), ceil(high)
        return {
            share: new for share, new in zip(SHARES, (low, high), strict=True) if new != self.value
        }


def numbers_of(device: Simulator, kernels: Sequence[str], everything: bool = False) -> list[Number]:
    """The assumed costs of a profile, without those of other kernels.

    everything: also all numbers that have a source.
    """
    others = {f"exec_ns.{name}" for name in device.exec_ns if name not in kernels}
    numbers = [
        Number(key, value, _source(device, key))
        for key, value in _entries(device)
        if key not in others
    ]
    return [
        each
        for each in numbers
        if (each.is_assumed and not each.is_limit) or (everything and each.source)
    ]


def _entries(device: Simulator) -> Iterator[tuple[str, float]]:
    """Key and value of every number of the profile, including mappings and noise."""
    for item in fields(device):
        value = getattr(device, item.name)
        if is_dataclass(value):
            value = {inner.name: getattr(value, inner.name) for inner in fields(value)}
        flat = (
            {f"{item.name}.{key}": each for key, each in value.items()}
            if isinstance(value, dict)
            else {}
        )
        for key, each in (flat or {item.name: value}).items():
            if (
                isinstance(each, int | float)
                and not isinstance(each, bool)
                and not key.endswith(".seed")
            ):
                yield key, each


def _source(device: Simulator, key: str) -> str:
    return device.sources.get(key) or device.sources.get(key.partition(".")[0], "")


def with_number(device: Simulator, key: str, value: float) -> Simulator:
    """The profile with one number changed; RequestError where that is out of range."""
    name, _, inner = key.partition(".")
    changed: Any = value
    if inner:
        group = getattr(device, name)
        changed = (
            {**group, inner: value} if isinstance(group, dict) else replace(group, **{inner: value})
        )
    return replace(device, **{name: changed})
