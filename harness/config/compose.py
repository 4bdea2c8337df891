"""Builds a `Config` from YAML presets and overrides.

Hydra merges the presets onto mutable copies of the schemas. A misspelt key or a wrong type then
fails in YAML and on the command line alike. `build` creates the schemas themselves, which check
ranges and rules between fields.

    config = load("strategy=pipelined", "depth=3", "workload=attention")
    config.strategy.label  # "pooled d3 b1 c1"
"""

from __future__ import annotations

import dataclasses
import functools
import re
import typing
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import Any, cast

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.errors import HydraException
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from harness.config.credentials import refuse_credentials
from harness.config.device import DEVICES, Device
from harness.config.disturbance import Noise
from harness.config.explain import GROUP_NAMES, explain
from harness.config.loader import Compositions, caching_loader
from harness.config.schema import GROUP_SCHEMAS, Config, Resume, Tracking
from harness.config.setting import copied, hints_of, setting_of
from harness.config.sources import Sources, key_and_value
from harness.config.unknown_key import unknown_key
from harness.config.workload import Workload
from harness.config.workload_keys import WORKLOAD_KEYS, choose_workload
from harness.errors import RequestError, nearest, override_text
from harness.kernel import check_kernel
from harness.kernel.folders import DECLARATIONS, conf_root, own_preset_folders

SWEEPER_TARGET = "hydra_plugins.harness.CheckedSweeper"
"""Name under which Hydra finds `harness.commands.sweeper.CheckedSweeper`."""
OF_COMPOSING = (HydraException, OmegaConfBaseException, YAMLError, ValueError, TypeError)
"""What Hydra raises for a wrong request."""
_OPEN_KEYS = {"xclbin", "insts"}
"""Mappings of a device by kernel. The presets do not list kernels, so new keys need no `+`."""
_BY_KERNEL = ("device.exec_ns", "device.xclbin", "device.insts", "workload.links")
"""Mappings by the name of a kernel."""
_BOOLEANS = {
    f"{group}.{name}"
    for group, cls in {**GROUP_SCHEMAS, "device.noise": Noise}.items()
    for name, hint in typing.get_type_hints(cls).items()
    if hint is bool
}
_SHARED_KEYS = ("depth", "seed")
"""Top-level keys whose values groups use too. They are checked first, so that an error names the
key that the user has set."""


def conf_dir() -> Path:
    """The folder of YAML presets: beside the package in a source tree, inside it in a wheel."""
    return conf_root()


@functools.cache
def register() -> None:
    """Register the nodes that the YAML files refer to: the schemas, and the sweeper."""
    store = ConfigStore.instance()
    store.store(name="schema", node=_twin(Config))
    for kind, cls in DEVICES.items():
        node = OmegaConf.structured(_twin(cls))
        # Without struct mode, OmegaConf accepts keys that are not there.
        for key in _OPEN_KEYS & set(node):
            OmegaConf.set_struct(node[key], False)
        store.store(group="schema", name=kind, node=node)
    # The keys that Hydra's BasicSweeper takes.
    sweeper = {"_target_": SWEEPER_TARGET, "max_batch_size": None, "params": None}
    store.store(group="hydra/sweeper", name="checked", node=sweeper)


def load(*overrides: str) -> Config:
    """Compose the configuration that the command line would compose from `overrides`.

    RequestError, with the command line's explanation, if an override or a preset is wrong.

        config = load("strategy=batch", "strategy.batch=8", "device.noise.enabled=true")
        assert config.strategy.batch == 8
    """
    check_overrides(overrides)
    register()
    try:
        # Without a version_base, Hydra warns and behaves as its version 1.1.
        with (
            caching_loader(compositions()),
            initialize_config_dir(str(conf_dir()), version_base="1.3"),
        ):
            composed = compose("config", list(overrides))
    except OF_COMPOSING as error:
        raise _for_python(error, overrides) from error
    # Outside of the `try`: a ValueError or TypeError of the schemas is a fault of the harness.
    try:
        return build(composed)
    except RequestError as error:
        raise _for_python(error, overrides) from error


def compositions() -> Compositions:
    """What this process has composed from the presets, the user's too, as they are now."""
    return _compositions(_state_of_presets())


@functools.lru_cache(maxsize=1)
def _compositions(_: tuple[tuple[str, int, int], ...]) -> Compositions:
    return {}


def _state_of_presets() -> tuple[tuple[str, int, int], ...]:
    """Path, time of change and size of each preset: a changed file is composed again."""
    folders = (conf_dir(), *own_preset_folders())
    paths = (path for folder in folders for path in sorted(folder.rglob("*.yaml")))
    states = ((path, path.stat()) for path in paths)
    return tuple((str(path), state.st_mtime_ns, state.st_size) for path, state in states)


def check_overrides(overrides: Sequence[str]) -> None:
    """RequestError for an override that Hydra takes although it asks for nothing that exists.

    A list of options, which Hydra would merge; a kernel that does not exist; a number other than
    0 and 1 for true and false; an address with a password.
    """
    refuse_credentials(overrides)
    for override in overrides:
        key, value = key_and_value(override)
        if key in GROUP_NAMES and value.startswith("["):
            raise RequestError(f"{override}: a list; give one option of {key}, without brackets")
        if key == DECLARATIONS:
            raise RequestError(
                f"{override}: not a group of options; give workload.kernel={value or '<name>'}"
            )
        mapping, _, name = key.rpartition(".")
        if mapping in _BY_KERNEL:
            check_kernel(name, override)
        if key in _BOOLEANS and re.fullmatch(r"-?\d+", value) and value not in ("0", "1"):
            raise RequestError(f"{override}: not allowed; give true or false")


def _for_python(error: Exception, overrides: tuple[str, ...]) -> RequestError:
    """The command line's explanation, without its flag -m."""
    reason = explain(error, Sources(overrides, conf_dir(), own_preset_folders()))
    return RequestError(reason.replace("add -m to sweep over them", "give one"))


def _twin(cls: type) -> type:
    """Return a mutable copy of a frozen dataclass, and of the dataclasses in its fields.

    OmegaConf makes frozen ones read-only, so that no preset could set a value. In the copy, the
    device has type Any, because each device preset brings its own schema, and the workload has the
    flat keys.
    """
    hints = typing.get_type_hints(cls)
    hints |= {name: Any for name, hint in hints.items() if hint is Device}
    hints |= {name: WORKLOAD_KEYS for name, hint in hints.items() if hint is Workload}
    members = []
    for item in dataclasses.fields(cls):
        hint, changes = hints[item.name], dict[str, Any]()
        if dataclasses.is_dataclass(hint):
            hint = _twin(cast(type, hint))
            if item.default_factory is not dataclasses.MISSING:
                changes["default_factory"] = hint
        # OmegaConf's "???": to read it is an error that names the key.
        if item.default is item.default_factory is dataclasses.MISSING:
            changes["default"] = MISSING
        members.append((item.name, hint, copied(item, **changes)))
    return dataclasses.make_dataclass(cls.__name__, members)


def build(cfg: DictConfig) -> Config:
    """Build a `Config` from a composed configuration; its node `hydra` is ignored.

    RequestError for unknown keys, and for missing or impossible values.
    """
    try:
        # Key by key, because the node `hydra` has values that are missing until a job is launched.
        values = {str(key): _plain(cfg, str(key)) for key in cfg if key != "hydra"}
    except OmegaConfBaseException as error:
        raise RequestError(explain(error)) from error
    for item in dataclasses.fields(Config):
        if item.name in _SHARED_KEYS and item.name in values:
            setting_of(item).check(item.name, values[item.name])
    groups = {"device": _device_kind(values["device"]), **GROUP_SCHEMAS}
    built = {group: _construct(cls, values[group], f"{group}.") for group, cls in groups.items()}
    built["workload"] = choose_workload(vars(built["workload"]))
    return cast(Config, _construct(Config, {**values, **built}, ""))


def resolved(cfg: DictConfig) -> dict[str, Any]:
    """A composed configuration as plain data with names for enumerations, without Hydra's node."""
    plain = dict[str, Any]()
    for key in map(str, cfg):
        if key == "hydra":
            continue
        value = OmegaConf.select(cfg, key)
        if OmegaConf.is_config(value):
            value = OmegaConf.to_container(value, resolve=True, enum_to_str=True)
        plain[key] = value.name if isinstance(value, Enum) else value
    return plain


def requested(hydra: Any) -> tuple[str, list[str]]:
    """The preset of the strategy, and the overrides of a job, from Hydra's node."""
    overrides = OmegaConf.to_container(hydra.overrides.task, resolve=False)
    return str(hydra.runtime.choices["strategy"]), cast(list[str], overrides)


def _device_kind(values: dict[str, Any]) -> type[Device]:
    """Return the schema of a device's keys; RequestError for keys of another kind of device."""
    kind = values.get("kind", "")
    if kind not in DEVICES:
        raise RequestError(f"device.kind={kind}: unknown; {nearest(kind, DEVICES)}")
    # device.kind=hardware alone changes the kind, but leaves the keys of the simulator preset.
    others = set().union(*map(_names, DEVICES.values())) - set(_names(DEVICES[kind]))
    if others & set(values):
        raise RequestError(
            f"device.kind={kind}: does not go with the other keys; choose the kind with "
            f"device={kind}"
        )
    return DEVICES[kind]


def _plain(cfg: DictConfig, key: str) -> Any:
    value = OmegaConf.select(cfg, key, throw_on_missing=True)
    if OmegaConf.is_config(value):
        return OmegaConf.to_container(value, resolve=True, throw_on_missing=True)
    return value


def _names(cls: type) -> tuple[str, ...]:
    return tuple(item.name for item in dataclasses.fields(cls))


def _construct(cls: type, values: dict[str, Any], prefix: str) -> Any:
    """Create a dataclass, and those in its fields, from plain values; `prefix` leads its keys."""
    names, hints = _names(cls), hints_of(cls)
    for key, value in values.items():
        if key not in names:
            given = f"{prefix}{key}={override_text(value)}"
            raise RequestError(unknown_key(given, key, cls))
    inner = {
        key: _construct(hints[key], value, f"{prefix}{key}.")
        for key, value in values.items()
        if dataclasses.is_dataclass(hints[key]) and isinstance(value, dict)
    }
    return cls(**{**values, **inner})


def ignored_depth(cfg: DictConfig, preset: str, overrides: list[str]) -> str:
    """Return a warning if the strategy ignores the override `depth=`; else an empty text.

    preset: name of the strategy.
    """
    depths = [text for text in overrides if re.match(r"\+*depth=", text)]
    strategy = OmegaConf.to_container(cfg.strategy, resolve=False)
    if not depths or cast(dict[str, Any], strategy)["depth"] in ("${depth}", cfg.depth):
        return ""
    return (
        f"strategy={preset} does not use {depths[-1]}: its own depth is {cfg.strategy.depth}; "
        "set strategy.depth, or use strategy=pipelined or strategy=stacked"
    )


def deciding_part(config: Config) -> Config:
    """Return the request with the keys that change no result set to fixed values.

    These are `tracking`, `resume`, and `depth`, whose value is in `strategy.depth`. Two requests
    with equal deciding parts give equal results.
    """
    return dataclasses.replace(config, depth=1, tracking=Tracking(), resume=Resume.on)
