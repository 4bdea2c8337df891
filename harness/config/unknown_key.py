"""The message for a key that its group does not have."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from difflib import get_close_matches

from harness.config.arithmetic import GemmBfloat16, GemmInt8
from harness.config.device import DEVICES
from harness.config.disturbance import Faults, Noise
from harness.config.schema import GROUP_SCHEMAS, Config
from harness.config.shared_memory import SharedMemory
from harness.errors import nearest, nearest_key

SIMILARITY = 0.8
"""Similarity to a key of another group above which that key is suggested."""


def unknown_key(override: str, name: str, cls: type | None) -> str:
    """The message; override: `key=value` as typed, or the key. name: last part of the key.

    cls: the schema that lacks the key; None for one of Hydra's.
    """
    if cls is None:
        return f"{override}: unknown key; --cfg all shows the keys"
    names = _keys(cls)
    if cls is Config:
        if name == "experiment":
            return (
                f"{override}: experiment has no keys; give the name of a preset, experiment=<name>"
            )
        names = [*names, "experiment"]
    if not _close(name, names):
        if cls is Config and (key := _in_a_group(name)):
            _, equals, value = override.partition("=")
            return f"{override}: unknown key; did you mean {key}{equals}{value}?"
        if cls in DEVICES.values() and (hints := _of_another_device(name)):
            return f"{override}: unknown key; {hints}allowed here: {', '.join(sorted(names))}"
    # In strategy={dept:1} the key is not the last part of the override.
    typed = override.partition("=")[0].endswith(name)
    remedy = nearest_key(override, names) if typed else nearest(name, names)
    return f"{override}: unknown key; {remedy}"


def all_unknown_keys(first: str, overrides: Iterable[str], known: str) -> str:
    """The message for the first unknown key with those for others of the command line, as typed.

    Hydra stops at the first one. known: the override of the first message. A key counts as known if
    any kind of device has it; keys with a sign in front are not checked. Of several messages, each
    is as short as it can be.
    """
    lines = [first]
    for override in dict.fromkeys(overrides):
        key, _, _ = override.partition("=")
        group, _, name = key.rpartition(".")
        classes = _SCHEMAS.get(group, ())
        # With several values, the known override has one of them.
        if key == known.partition("=")[0] or not classes or not key.replace(".", "").isidentifier():
            continue
        names = {name for cls in classes for name in _keys(cls)} | {"experiment", "hydra"}
        if name not in names:
            lines.append(unknown_key(override, name, classes[0]))
    if len(lines) == 1:
        return first
    return "; ".join(
        line.partition("? Allowed: ")[0] + "?" * ("? Allowed: " in line) for line in lines
    )


_SCHEMAS: dict[str, tuple[type, ...]] = {
    "": (Config,),
    **{group: (cls,) for group, cls in GROUP_SCHEMAS.items()},
    "device": (DEVICES["simulator"], *DEVICES.values()),
    "device.noise": (Noise,),
    "device.faults": (Faults,),
    "device.memory": (SharedMemory,),
    "device.gemm_int8": (GemmInt8,),
    "device.gemm_bfloat16": (GemmBfloat16,),
}
"""By group: the schemas of which a key may be; messages are about the first."""


def _in_a_group(name: str) -> str:
    """The key of a group that a user may mean by its last part; empty if none is similar."""
    groups = {"device": DEVICES["simulator"], **GROUP_SCHEMAS}
    # Of equal names, that of the strategy counts: it is the group that users change most.
    owners = {key: group for group, cls in reversed(groups.items()) for key in _keys(cls)}
    owners |= dict.fromkeys(_keys(GROUP_SCHEMAS["strategy"]), "strategy")
    return next((f"{owners[key]}.{key}" for key in _close(name, owners)), "")


def _of_another_device(name: str) -> str:
    """Name the other kind of device with a similar key."""
    hints = []
    for kind, other in DEVICES.items():
        hints += [f"device={kind} has device.{key}; " for key in _close(name, _keys(other))]
    return "".join(hints)


def _close(name: str, names: Iterable[str]) -> list[str]:
    return get_close_matches(name, names, 1, SIMILARITY)


def _keys(cls: type) -> list[str]:
    return [item.name for item in dataclasses.fields(cls)]
