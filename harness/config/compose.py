"""The configuration: dataclass schemas that the YAML presets are merged onto, and the way back to plain data.

A misspelt key or a wrong type fails in YAML and on the command line alike; ranges are checked by the dataclasses
themselves when `build` makes them.
"""

from __future__ import annotations

import dataclasses
import functools
import re
import typing
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from harness.config.device import Device, Faults, Hardware, Noise, Simulator
from harness.config.phase import Phase
from harness.config.strategy import DEPTH_REMEDY, MOST_DEPTH, Strategy
from harness.config.workload import Workload
from harness.errors import RequestError, check_range, nearest


class Verify(Enum):
    """Which tiles are compared with the reference."""

    all = "all"
    off = "off"


class TrackingKind(Enum):
    """Where runs are indexed."""

    local = "local"
    server = "server"
    off = "off"


@dataclass(frozen=True)
class Measure:
    """warmup: passes before the timed ones; 0 makes every timed pass start cold. repeats: timed passes."""

    warmup: int = 1
    repeats: int = 5

    def __post_init__(self) -> None:
        check_range("measure.warmup", self.warmup, 0, 10_000, "0 times cold passes")
        check_range(
            "measure.repeats", self.repeats, 1, 10_000, "the guide to noise says at least 5"
        )


@dataclass(frozen=True)
class Tracking:
    """MLflow: `uri` of the store, `artifacts` root (for a local store), name of the `experiment`."""

    kind: TrackingKind = TrackingKind.off
    uri: str = ""
    artifacts: str = ""
    experiment: str = "harness"

    def __post_init__(self) -> None:
        if self.kind is TrackingKind.local and not self.uri.startswith("sqlite:///"):
            raise RequestError(
                f"tracking.uri={self.uri}: not a local store; give sqlite:///<file> or use tracking=server"
            )
        if self.kind is TrackingKind.local and not self.artifacts:
            raise RequestError(
                "tracking.artifacts=: empty; give the folder that artifacts are kept in"
            )
        if self.kind is TrackingKind.server and not self.uri.startswith(("http://", "https://")):
            raise RequestError(
                f"tracking.uri={self.uri}: not a server; give http://<host>:<port> or use tracking=local"
            )
        if self.kind is not TrackingKind.off and not self.experiment:
            raise RequestError("tracking.experiment=: empty; give the name of an MLflow experiment")


@dataclass(frozen=True)
class Config:
    """The whole request."""

    device: Device
    strategy: Strategy
    workload: Workload
    phase: Phase
    measure: Measure
    tracking: Tracking
    depth: int = 2
    seed: int = 0
    verify: Verify = Verify.all

    def __post_init__(self) -> None:
        check_range("seed", self.seed, 0)
        columns = self.device.columns
        check_range(
            "strategy.columns",
            self.strategy.columns,
            1,
            columns,
            f"the device has {columns} usable columns",
        )
        if self.workload.layer is not None and self.verify is not Verify.all:
            raise RequestError(
                f"workload.layer={self.workload.layer} verify={self.verify.value}: a layer runs with its data to be "
                "verified; use verify=all, or leave workload.layer out to time the whole window"
            )
        self.phase.check(self.strategy, self.workload)


SWEEPER_TARGET = "hydra_plugins.harness.CheckedSweeper"
"""Where Hydra finds `harness.commands.sweeper.CheckedSweeper`."""
_KINDS: dict[str, type[Device]] = {"simulator": Simulator, "hardware": Hardware}
_OPEN_KEYS = {"xclbin", "insts"}
"""Of a device: named by kernels, which are not known here, so that they take new keys without a +."""
_GROUPS: dict[str, type] = {
    "strategy": Strategy,
    "workload": Workload,
    "phase": Phase,
    "measure": Measure,
    "tracking": Tracking,
}


def conf_dir() -> Path:
    """The folder of YAML presets: beside the package in a source tree, inside it in a wheel."""
    package = Path(__file__).parent.parent
    inside = package / "conf"
    return inside if inside.is_dir() else package.parent / "conf"


def register() -> None:
    """Give Hydra what the YAML refers to: `schema`, `/schema/<kind of device>`, `hydra/sweeper=checked`."""
    store = ConfigStore.instance()
    store.store(name="schema", node=_schema(Config))
    for kind, cls in _KINDS.items():
        node = OmegaConf.structured(_schema(cls))
        for key in _OPEN_KEYS & set(node):
            OmegaConf.set_struct(node[key], False)
        store.store(group="schema", name=kind, node=node)
    sweeper = {"_target_": SWEEPER_TARGET, "max_batch_size": None, "params": None}
    store.store(group="hydra/sweeper", name="checked", node=sweeper)


def load(*overrides: str) -> Config:
    """The configuration that the command line would compose from `overrides`; raises as Hydra and `build` do."""
    register()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return build(compose("config", list(overrides)))


def _schema(cls: type) -> type:
    """A mutable twin of a frozen dataclass: OmegaConf makes frozen ones read-only, so no preset could set a value.

    The device is typed Any in it: each of its presets brings the schema of its kind.
    """
    hints = typing.get_type_hints(cls)
    members = []
    for item in dataclasses.fields(cls):
        if hints[item.name] is Device:
            hints[item.name] = Any
        nested = dataclasses.is_dataclass(hints[item.name])
        if nested:
            hints[item.name] = _schema(hints[item.name])
        if item.default_factory is not dataclasses.MISSING:
            default = dataclasses.field(
                default_factory=hints[item.name] if nested else item.default_factory
            )
        else:
            missing = item.default is dataclasses.MISSING
            default = dataclasses.field(default=MISSING if missing else item.default)
        members.append((item.name, hints[item.name], default))
    return dataclasses.make_dataclass(cls.__name__, members)


def build(cfg: DictConfig) -> Config:
    """The composed configuration as plain data; RequestError for unknown keys, missing or impossible values.

    Hydra's own part of it, if it is still there, is left aside.
    """
    try:
        values = {str(key): _plain(cfg, str(key)) for key in cfg if key != "hydra"}
    except OmegaConfBaseException as error:
        raise RequestError(explain(error)) from error
    check_range(
        "depth", values["depth"], 1, MOST_DEPTH, DEPTH_REMEDY
    )  # first: strategies take it over
    kind = values["device"].get("kind", "")
    if kind not in _KINDS:
        raise RequestError(f"device.kind={kind}: unknown; {nearest(kind, _KINDS)}")
    fields = {name: {item.name for item in dataclasses.fields(cls)} for name, cls in _KINDS.items()}
    others = set().union(*fields.values()) - fields[kind]
    if others & set(values["device"]):
        raise RequestError(
            f"device.kind={kind}: does not go with the other keys; choose the kind with device={kind}"
        )
    groups = {"device": _KINDS[kind], **_GROUPS}
    built = {group: _construct(cls, values[group], f"{group}.") for group, cls in groups.items()}
    return typing.cast(Config, _construct(Config, {**values, **built}, ""))


def _plain(cfg: DictConfig, key: str) -> Any:
    value = OmegaConf.select(cfg, key, throw_on_missing=True)
    return (
        OmegaConf.to_container(value, resolve=True, throw_on_missing=True)
        if OmegaConf.is_config(value)
        else value
    )


_hints_of = functools.cache(typing.get_type_hints)
"""Types of a dataclass's fields; evaluated once, as every job of a sweep asks for them."""


def _construct(cls: type, values: dict[str, Any], prefix: str) -> Any:
    """The dataclass of plain values, and those inside it."""
    hints = _hints_of(cls)
    for key, value in values.items():
        if key not in hints:
            raise RequestError(f"{prefix}{key}={value}: unknown key; {nearest(key, hints)}")
    inner = {
        key: _construct(hints[key], value, f"{prefix}{key}.")
        for key, value in values.items()
        if dataclasses.is_dataclass(hints[key]) and isinstance(value, dict)
    }
    return cls(**{**values, **inner})


def ignored_depth(cfg: DictConfig, overrides: list[str]) -> str:
    """What to say when `depth=` was given but the strategy has a depth of its own; else an empty text."""
    given = [text for text in overrides if re.match(r"\+*depth=", text)]
    strategy = OmegaConf.to_container(cfg.strategy, resolve=False)
    if not given or typing.cast(dict[str, Any], strategy)["depth"] == "${depth}":
        return ""
    return (
        f"{given[-1]} has no effect: this strategy has a depth of its own ({cfg.strategy.depth}); "
        "use strategy=pipelined or strategy=stacked, or set strategy.depth"
    )


_SCHEMAS: dict[str, type] = {
    cls.__name__: cls for cls in (Config, *_GROUPS.values(), *_KINDS.values(), Noise, Faults)
}
_LEAK = re.compile(r"(full_key: |object_type=|reference_type=)")
_FULL_KEY = re.compile(r"full_key: (\S+)")


def explain(error: BaseException) -> str:
    """One line for an error of Hydra or OmegaConf: what was given, what is allowed, what to do."""
    chain: list[str] = []
    cause: BaseException | None = error
    while cause is not None:
        chain.append(str(cause))
        cause = cause.__cause__
    text = "\n".join(chain)
    key = found[1] if (found := _FULL_KEY.search(text)) else ""
    for pattern, say in _EXPLANATIONS:
        if match := re.search(pattern, text):
            return say(match, key, text)
    lines = [
        line.strip() for line in text.splitlines() if line.strip() and not _LEAK.match(line.strip())
    ]
    said = "; ".join(
        [*dict.fromkeys(lines[:3]), "`python -m harness --help` shows what is allowed"]
    )
    return f"{key}: {said}" if key else said


def _no_option(match: re.Match[str], key: str, text: str) -> str:
    group, given = match.groups()
    known = re.findall(r"^\t(\S+)$", text, re.MULTILINE)
    return f"{group}={given}: no such option; {nearest(given, known)}"


def _unknown_key(match: re.Match[str], key: str, text: str) -> str:
    name, owner = match.groups()
    cls = _SCHEMAS.get(owner)
    allowed = (
        nearest(name, [item.name for item in dataclasses.fields(cls)])
        if cls
        else "--cfg all shows the keys"
    )
    given = found[1] if (found := re.search(r"config use \+(.+)", text)) else key or name
    return f"{given}: unknown key; {allowed}"


def _no_choice(match: re.Match[str], key: str, text: str) -> str:
    remedy = '; in YAML, quote it: "off"' if match[1] == "False" else ""
    return f"{key}={match[1]}: not allowed; {nearest(match[1], match[2].split(', '))}{remedy}"


_EXPLANATIONS: tuple[tuple[str, typing.Callable[[re.Match[str], str, str], str]], ...] = (
    (r"Could not find '([^']+)/([^'/]+)'", _no_option),
    (r"Key '([^']+)' not in '(\w+)'", _unknown_key),
    (
        r"To append to your config use \+(\S+)[^\0]*is not in struct",
        lambda match, *_: f"{match[1]}: no such key; +{match[1]} adds it",
    ),
    (r"Invalid value '([^']*)', expected one of \[(.*)\]", _no_choice),
    (
        r"Value '(.*)' (?:of type '\w+' could not be converted to|is not a valid) (\w+)",
        lambda match, key, _: f"{key}={match[1]}: not allowed; give a value of type {match[2]}",
    ),
    (
        r"Missing mandatory value: (\S+)",
        lambda match, key, _: f"{key or match[1]}: missing; it needs a value",
    ),
    (
        r"Interpolation key '([^']+)' not found",
        lambda match, key, _: (
            f"{key}: refers to {match[1]}, which there is not; --cfg job shows the keys"
        ),
    ),
    (
        r"field '([^']+)' is not Optional",
        lambda match, *_: f"{match[1]}=null: not allowed; it needs a value",
    ),
    (
        r"override \+*(\S+?)=(\S*)[^\0]*Cannot assign \w+ to Dict",
        lambda match, *_: (
            f"{match[1]}={match[2]}: takes a value for each name; give {match[1]}.<name>=<value>"
        ),
    ),
    (
        r"Ambiguous value for argument '([^']+)'",
        lambda match, *_: (
            f"{match[1]}: several values; add -m to sweep over them, or brackets for a list"
        ),
    ),
)
