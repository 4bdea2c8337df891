"""Builds the `Config` of a stored configuration, without Hydra."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any, get_args

from harness.config.device import DEVICES
from harness.config.phase import Phase
from harness.config.schema import Config, Measure, Tracking, Verify
from harness.config.setting import hints_of
from harness.config.strategy import Strategy
from harness.config.workload import Workload
from harness.config.workload_keys import WORKLOAD_KEYS, choose_workload
from harness.errors import RequestError


def config_of(stored: Mapping[str, Any], strategy: Strategy) -> Config:
    """The request of a record, from its `config` and its effective knobs; tracking is off.

        config_of(record.config, record.knobs)

    Keys that the record has not got have their defaults; keys that no longer exist are left out.
    Every strategy is allowed, whatever the phase of the record. RequestError for a value that is
    missing or not possible.
    """
    try:
        device = _built(DEVICES[stored["device"]["kind"]], stored["device"])
        return Config(
            device=device,
            strategy=strategy,
            workload=workload_of(stored),
            phase=Phase("free"),
            measure=_built(Measure, stored["measure"]),
            tracking=Tracking(),
            seed=stored["seed"],
            verify=Verify[stored["verify"]],
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise RequestError(f"the stored configuration is incomplete: {error!r}") from error


def workload_of(stored: Mapping[str, Any]) -> Workload:
    """The workload of a resolved configuration; KeyError or RequestError if it is not possible."""
    return choose_workload(vars(_built(WORKLOAD_KEYS, stored["workload"])))


def _built(cls: type, stored: Mapping[str, Any]) -> Any:
    hints = hints_of(cls)
    names = [item.name for item in fields(cls) if item.name in stored]
    return cls(**{name: _value(hints[name], stored[name]) for name in names})


def _value(hint: Any, value: Any) -> Any:
    """A value of the type `hint`: names become members of enumerations."""
    if isinstance(hint, type) and issubclass(hint, Enum):
        return hint[value]
    if is_dataclass(hint):
        return _built(hint, value)  # type: ignore[arg-type]
    inner = get_args(hint)
    if isinstance(value, dict) and inner:
        return {key: _value(inner[-1], each) for key, each in value.items()}
    # PowerMode | None
    members = [each for each in inner if isinstance(each, type) and issubclass(each, Enum)]
    return members[0][value] if members and value is not None else value
