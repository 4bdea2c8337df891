"""The keys of each group of a request, with their meanings and limits."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

from harness.config.device import DEVICES
from harness.config.schema import GROUP_SCHEMAS
from harness.config.setting import hints_of, setting_of


@dataclass(frozen=True)
class Key:
    """name: `strategy.depth`. limits: `1 to 1024`, with the unit; empty without limits.

    kinds: kinds of devices that have the key with this meaning; empty in other groups.
    """

    name: str
    meaning: str
    limits: str
    kinds: tuple[str, ...] = ()


def keys_of(group: str) -> list[Key]:
    """The keys of a group in the order of its schema; empty for a group without keys."""
    if group != "device":
        cls = GROUP_SCHEMAS.get(group)
        return list(_keys(cls, f"{group}.")) if cls else []
    kinds = dict[Key, list[str]]()
    for kind, cls in DEVICES.items():
        for key in _keys(cls, "device."):
            # The preset sets the kind.
            if key.name != "device.kind":
                kinds.setdefault(key, []).append(kind)
    return [dataclasses.replace(key, kinds=tuple(names)) for key, names in kinds.items()]


def _keys(cls: type, prefix: str) -> Iterator[Key]:
    hints = hints_of(cls)
    for item in dataclasses.fields(cls):
        if dataclasses.is_dataclass(hints[item.name]):
            yield from _keys(hints[item.name], f"{prefix}{item.name}.")
            continue
        setting = setting_of(item)
        limits = "" if setting.least is None else f"{setting.least:,} or more"
        if setting.least is not None and setting.most is not None:
            limits = f"{setting.least:,} to {setting.most:,}"
        yield Key(f"{prefix}{item.name}", setting.meaning, f"{limits} {setting.unit}".strip())
