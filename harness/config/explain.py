"""Rewrites errors of Hydra and OmegaConf as one line: the key, what is allowed, what to do.

Neither library has an interface for that, so their texts are matched by patterns.
tests/config/test_explain.py fails if a new version changes a text.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from difflib import get_close_matches
from typing import cast

from harness.config.device import DEVICES, Faults, Noise
from harness.config.schema import GROUPS, Config
from harness.errors import nearest

_SCHEMAS: dict[str, type] = {
    cls.__name__: cls for cls in (Config, *GROUPS.values(), *DEVICES.values(), Noise, Faults)
}
# Lines of OmegaConf's messages about its own types
_LEAK = re.compile(r"(full_key: |object_type=|reference_type=)")
_FULL_KEY = re.compile(r"full_key: (\S+)")


def explain(error: BaseException) -> str:
    """Return one line for an error of Hydra or OmegaConf; the causes of the error count too."""
    chain: list[str] = []
    cause: BaseException | None = error
    while cause is not None:
        chain.append(str(cause))
        cause = cause.__cause__
    text = "\n".join(chain)
    key = match[1] if (match := _FULL_KEY.search(text)) else ""
    for pattern, describe in EXPLANATIONS.items():
        if match := re.search(pattern, text):
            return describe(match, key, text)
    # No pattern matches: show the first lines, without OmegaConf's internal ones.
    lines = [line for line in map(str.strip, text.splitlines()) if line and not _LEAK.match(line)]
    remedy = "`python -m harness --help` shows what is allowed"
    unexplained = "; ".join([*dict.fromkeys(lines[:3]), remedy])
    return f"{key}: {unexplained}" if key else unexplained


def _no_option(match: re.Match[str], key: str, text: str) -> str:
    group, option = match.groups()
    options = re.findall(r"^\t(\S+)$", text, re.MULTILINE)
    return f"{group}={option}: no such option; {nearest(option, options)}"


def _unknown_key(match: re.Match[str], key: str, text: str) -> str:
    name, owner = match.groups()
    cls = _SCHEMAS.get(owner)
    remedy = "--cfg all shows the keys"
    if cls:
        remedy = nearest(name, [item.name for item in dataclasses.fields(cls)])
    advice = re.search(r"config use \+(.+)", text)
    override = advice[1] if advice else key or name
    return f"{override}: unknown key; {_of_another_device(name, cls)}{remedy}"


def _of_another_device(name: str, cls: type | None) -> str:
    """Name the other kind of device with a similar key; empty if this kind has one itself."""
    if cls not in DEVICES.values() or _close(name, cast(type, cls)):
        return ""
    hints = []
    for kind, other in DEVICES.items():
        hints += [f"device={kind} has {key}; " for key in _close(name, other)]
    return "".join(hints)


def _close(name: str, cls: type) -> list[str]:
    return get_close_matches(name, [item.name for item in dataclasses.fields(cls)], 1, 0.8)


def _no_choice(match: re.Match[str], key: str, text: str) -> str:
    remedy = '; in YAML, quote it: "off"' if match[1] == "False" else ""
    return f"{key}={match[1]}: not allowed; {nearest(match[1], match[2].split(', '))}{remedy}"


EXPLANATIONS: dict[str, Callable[[re.Match[str], str, str], str]] = {
    r"Could not find '([^']+)/([^'/]+)'": _no_option,
    r"Key '([^']+)' not in '(\w+)'": _unknown_key,
    r"To append to your config use \+(\S+)[^\0]*is not in struct": (
        lambda match, *_: f"{match[1]}: no such key; +{match[1]} adds it"
    ),
    r"Invalid value '([^']*)', expected one of \[(.*)\]": _no_choice,
    r"Value '(.*)' (?:of type '\w+' could not be converted to|is not a valid) (\w+)": (
        lambda match, key, _: f"{key}={match[1]}: not allowed; give a value of type {match[2]}"
    ),
    r"Missing mandatory value: (\S+)": (
        lambda match, key, _: f"{key or match[1]}: missing; it needs a value"
    ),
    r"Interpolation key '([^']+)' not found": (
        lambda match, key, _: (
            f"{key}: refers to {match[1]}, which does not exist; --cfg job shows the keys"
        )
    ),
    r"field '([^']+)' is not Optional": (
        lambda match, *_: f"{match[1]}=null: not allowed; it needs a value"
    ),
    r"override \+*(\S+?)=(\S*)[^\0]*Cannot assign \w+ to Dict": (
        lambda match, *_: (
            f"{match[1]}={match[2]}: takes a value for each name; give {match[1]}.<name>=<value>"
        )
    ),
    r"Ambiguous value for argument '([^']+)'": (
        lambda match, *_: (
            f"{match[1]}: several values; add -m to sweep over them, or brackets for a list"
        )
    ),
    r"parsing override '([^']+)'\s+missing EQUAL at '<EOF>'": (
        lambda match, *_: f"{match[1]}: no value; give {match[1]}=<value>"
    ),
}
"""Pattern -> function that writes the explanation, from the match, the full key, and the texts of
the error and its causes. The first pattern that matches counts."""
