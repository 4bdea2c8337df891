"""Rewrites errors of Hydra and OmegaConf as one line: the key, what is allowed, what to do.

Neither library has an interface for that, so their texts are matched by patterns.
tests/config/test_explain.py fails if a new version changes a text.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path
from typing import get_args, get_type_hints

from hydra.errors import OverrideParseException
from yaml import MarkedYAMLError

from harness.config.arithmetic import GemmBfloat16, GemmInt8
from harness.config.device import DEVICES, PowerMode
from harness.config.disturbance import Faults, Noise
from harness.config.schema import GROUP_SCHEMAS, Config
from harness.config.shared_memory import SharedMemory
from harness.config.sources import Sources, key_and_value, shown
from harness.config.unknown_key import all_unknown_keys, unknown_key
from harness.errors import HarnessError, nearest, nearest_key, with_extra

_SCHEMAS: dict[str, type] = {
    cls.__name__: cls
    for cls in (
        Config,
        *GROUP_SCHEMAS.values(),
        *DEVICES.values(),
        Noise,
        Faults,
        SharedMemory,
        GemmInt8,
        GemmBfloat16,
    )
}
GROUP_NAMES = ("device", "experiment", *GROUP_SCHEMAS)
"""Keys that take the name of a preset."""
# Lines of OmegaConf's messages about its own types
_LEAK = re.compile(r"(full_key: |object_type=|reference_type=)")
_FULL_KEY = re.compile(r"full_key: (\S+)")
_PRESET = re.compile(r"In '([^']+/[^']+)': ")
_QUOTED = {"True": '; in YAML, quote it: "on"', "False": '; in YAML, quote it: "off"'}
"""By value that YAML reads from `on` and `off`: what to do."""
_INDEX = re.compile(r"\[\d+\]$")
_NO_NAME = re.compile("null|true|false|nan|inf", re.IGNORECASE)
"""Words that are values for Hydra, not text."""
_KINDS = {
    "Integer": "a whole number",
    "int": "a whole number",
    "Float": "a number",
    "float": "a number",
    "Boolean": "true or false",
    "bool": "true or false",
}
"""By the name of a type in OmegaConf's messages: what a user writes."""


LAUNCHER_EXTRAS = {"joblib": "joblib", "ray": "ray", "submitit": "slurm"}
"""Packages that launchers need -> extra of the harness. Names of launchers begin with them."""


@dataclasses.dataclass(frozen=True)
class Fault:
    """An error to explain: the match of its pattern, the full key, all texts, and the sources."""

    match: re.Match[str]
    key: str
    text: str
    sources: Sources

    def typed(self, value: str, key: str = "") -> str:
        """The override as typed, or `key=value`."""
        return self.sources.typed(key or _INDEX.sub("", self.key), value)


def explain(error: BaseException, sources: Sources | None = None) -> str:
    """Return one line for an error of Hydra, OmegaConf or `build`; its causes count too.

    sources: what the user typed, and the folders of presets, to name the override or the file.
    """
    sources = sources or Sources()
    if isinstance(error, HarnessError):
        return sources.annotated(str(error))
    # Hydra wraps the errors of OmegaConf and YAML, and any of the texts may be the useful one.
    chain = list(_causes(error))
    for cause in chain:
        if isinstance(cause, MarkedYAMLError):
            return _yaml_error(cause)
        if isinstance(cause, UnicodeDecodeError) and (path := sources.undecodable()):
            return f"{path}: not a text file; save it as UTF-8"
        # The other texts describe the tokens of Hydra's grammar, not what the user did.
        if isinstance(cause, OverrideParseException) and "missing EQUAL" not in str(cause):
            return _unreadable(str(cause.override))
    text = "\n".join(map(str, chain))
    key = match[1] if (match := _FULL_KEY.search(text)) else ""
    preset = _PRESET.search(text)
    path = sources.file(preset[1]) if preset else ""
    place = f"{path}: " if path else ""
    for pattern, describe in EXPLANATIONS.items():
        if match := re.search(pattern, text):
            return place + describe(Fault(match, key, text, sources))
    # No pattern matches: show the first lines, without OmegaConf's internal ones.
    lines = [line for line in map(str.strip, text.splitlines()) if line and not _LEAK.match(line)]
    remedy = "`python -m harness --help` shows what is allowed"
    unexplained = "; ".join([*dict.fromkeys(lines[:3]), remedy])
    return f"{key}: {unexplained}" if key else unexplained


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__


def _yaml_error(error: MarkedYAMLError) -> str:
    mark = error.problem_mark
    place = (
        f"{shown(Path(mark.name))}: line {mark.line + 1}, column {mark.column + 1}: "
        if mark
        else ""
    )
    return f"{place}not valid YAML ({error.problem}); correct the file"


def _unreadable(override: str) -> str:
    key, _, value = override.partition("=")
    if re.search(r"(^|,)\s*(,|$)", value) and "," in value:
        return f"{override}: an empty value in a list; write one comma between values, as in 1,2"
    if {"'", '"'} & set(value):
        return f"{override}: quotes do not match; write '{key}=\"<value>\"'"
    return (
        f"{override}: special characters in the value; put it in quotes, and all of it in quotes "
        f"of the shell: '{key}=\"{value}\"'"
    )


def _no_option(fault: Fault) -> str:
    group, option = fault.match.groups()
    options = re.findall(r"^\t(\S+)$", fault.text, re.MULTILINE)
    path = fault.sources.file_that_names(f"{group}/{option}")
    place = f"{path}: " if path else ""
    if group == "hydra/launcher" and (extra := LAUNCHER_EXTRAS.get(option.partition("_")[0])):
        return f"{place}{group}={option}: not installed; {with_extra(extra)}"
    return f"{place}{group}={option}: no such option; {nearest(option, options)}"


def _needless_plus(fault: Fault) -> str:
    key = fault.match[1] or fault.match[2]
    override = fault.sources.typed(key, "").rstrip("=")
    return f"{override}: {key} has a value already; leave out the +"


def _no_name(fault: Fault) -> str:
    for override in fault.sources.overrides:
        group, value = key_and_value(override)
        if group in GROUP_NAMES and (_NO_NAME.fullmatch(value) or not value[:1].isalpha()):
            allowed = ", ".join(sorted(fault.sources.options(group)))
            return f"{override}: not the name of an option; allowed: {allowed}"
    return "a group takes the name of an option; `python -m harness list` shows the options"


def _unknown_key(fault: Fault) -> str:
    name, owner = fault.match.groups()
    advice = re.search(r"config use \+(.+)", fault.text)
    override = advice[1] if advice else fault.key or name
    first = unknown_key(override, name, _SCHEMAS.get(owner))
    return all_unknown_keys(first, fault.sources.overrides, override)


def _no_choice(fault: Fault) -> str:
    value, allowed = fault.match.groups()
    # YAML 1.1 reads off without quotes as a boolean.
    remedy = _QUOTED.get(value, "")
    return f"{fault.typed(value)}: not allowed; {nearest(value, allowed.split(', '))}{remedy}"


def _wrong_kind(fault: Fault) -> str:
    value, kind = fault.match.groups()
    wanted = f"give {_KINDS.get(kind, kind)}"
    if kind in _enums():
        wanted = nearest(value, [str(member.value) for member in _enums()[kind]])
    elif kind == "Integer" and re.fullmatch(r"-?\d+\.0", value):
        wanted += f", such as {value.removesuffix('.0')}"
    return f"{fault.typed(value)}: not allowed; {wanted}"


def _enums() -> dict[str, type[Enum]]:
    """The enumerations in the schemas, by name."""
    hints = [hint for cls in _SCHEMAS.values() for hint in get_type_hints(cls).values()]
    types = [each for hint in hints for each in (hint, *get_args(hint)) if isinstance(each, type)]
    return {each.__name__: each for each in types if issubclass(each, Enum)}


def _no_key(fault: Fault) -> str:
    """A key that a mapping by name lacks."""
    override = fault.match[1]
    key = key_and_value(override)[0].rpartition(".")[0]
    if key == "device.clock_mhz":
        return f"{override}: not a power mode; {nearest_key(override, PowerMode.__members__)}"
    return f"{override}: no such key; +{override} adds it"


def _no_mapping(fault: Fault) -> str:
    given = re.search(r"Error merging override \+*([^\s=]+)=(\S*)", fault.text)
    if not given:
        # OmegaConf gives no key where a file of a group sets a key of another one.
        cls = _SCHEMAS.get(fault.match[1] or "")
        key = fault.key or getattr(cls, "group", "").rstrip(".")
        place = f"{key}: " if key else ""
        return f"{place}not a mapping; give a line KEY: VALUE for each key"
    key, value = given.groups()
    cls = _SCHEMAS.get(key.rpartition(".")[2].capitalize())
    if not cls:
        return f"{key}={value}: takes a value for each name; give {key}.<name>=<value>"
    names = ", ".join(item.name for item in dataclasses.fields(cls))
    return f"{key}={value}: has keys of its own; give {key}.<key>=<value>, with one of {names}"


def _no_list(fault: Fault) -> str:
    override = re.search(r"Error merging override \+*[^\s=]+=(\S*)", fault.text)
    if not override:
        return f"{fault.key}: not a list; in YAML, give a list in brackets"
    return f"{fault.key}={override[1]}: not a list; give {fault.key}=[{override[1]}]"


# In these patterns [^\0] stands for any character, line breaks included.
EXPLANATIONS: dict[str, Callable[[Fault], str]] = {
    r"Could not find '([^']+)/([^'/]*)'": _no_option,
    r"Config group override must be a string or a list": _no_name,
    r"Could not override '([^']+)'\. No match in the defaults list": (
        lambda fault: (
            f"override /{fault.match[1]}: no such group; {nearest(fault.match[1], GROUP_NAMES)}"
        )
    ),
    r"Could not delete from config\. '([^']+)' does not exist": (
        lambda fault: f"~{fault.match[1]}: no such key; --cfg job shows the keys"
    ),
    r"Key '([^']+)' not in '(\w+)'": _unknown_key,
    r"To append to your config use \+(\S+)[^\0]*is not in struct": _no_key,
    r"Could not append to config\. An item is already at '([^']+)'": _needless_plus,
    r"Could not append to config\. '([^'\s]+)' already exists|Multiple values for (\w+)\. To": (
        _needless_plus
    ),
    r"Invalid value '([^']*)', expected one of \[(.*)\]": _no_choice,
    r"Value '(.*)' (?:of type '\w+' could not be converted to|is not a valid) (\w+)": _wrong_kind,
    r"Value (.*) \(\w+\) is not a valid input for <enum '(\w+)'>": _wrong_kind,
    r"is not a ListConfig, list or tuple": _no_list,
    r"Cannot convert '\w+' to string: '(.*)'": (
        lambda fault: f"{fault.typed(fault.match[1])}: not allowed; give one value, no brackets"
    ),
    r"\w+ is not a subclass of (\w+)|Cannot merge DictConfig with ListConfig": _no_mapping,
    r"Missing mandatory value: (\S+)": (
        lambda fault: f"{fault.key or fault.match[1]}: missing; it needs a value"
    ),
    r"Interpolation key '([^']+)' not found": (
        lambda fault: (
            f"{fault.key}: refers to {fault.match[1]}, which does not exist; "
            "--cfg job shows the keys"
        )
    ),
    r"field '([^']+)' is not Optional": (
        lambda fault: f"{fault.match[1]}=null: not allowed; it needs a value"
    ),
    r"Incompatible value 'None' for field": (
        lambda fault: f"{fault.key}=null: not allowed; it needs a value"
    ),
    r"override \+*\S+?=\S*[^\0]*Cannot assign \w+ to (Dict)": _no_mapping,
    r"Ambiguous value for argument '([^']+)'": (
        lambda fault: (
            f"{fault.match[1]}: several values; add -m to sweep over them, or brackets for a list"
        )
    ),
    r"Sweep parameters '(.+)' requires --multirun": (
        lambda fault: f"{fault.match[1]}: several values; add -m to sweep over them"
    ),
    r"parsing override '([^']+)'\s+missing EQUAL at '<EOF>'": (
        lambda fault: f"{fault.match[1]}: no value; give {fault.match[1]}=<value>"
    ),
}
"""Pattern -> function that writes the explanation. The first pattern that matches counts."""
