"""The space of a search: strategies that differ in their knobs, with the values of the schema."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from enum import Enum
from itertools import product
from math import prod
from typing import Any, get_type_hints

from harness.config.schema import Config
from harness.config.setting import setting_of
from harness.config.strategy import Strategy
from harness.errors import RequestError, nearest, override_text
from harness.execution.prepare import make_plan
from harness.study.strategy_bound import shortest_pass_ns

Value = str | int | bool
EVERY_VALUE = 4
"""Of a number, all values up to this one are in the space, then its doubles."""
MOST_VALUE = 64
"""Largest value of a number that the space has if the request gives no values."""
MOST_SETTINGS = 20_000
_HINTS = get_type_hints(Strategy)
KNOBS = {item.name: setting_of(item) for item in fields(Strategy)}
"""The knobs of a strategy, as its schema declares them."""


@dataclass(frozen=True)
class Base:
    """A request whose knobs vary. params: keys that differ between bases, as `strategy`.

    knobs: values by key of the override.
    """

    config: Config
    params: Mapping[str, Value]
    knobs: Mapping[str, Sequence[Value]]


@dataclass(frozen=True)
class Candidate:
    """One setting of the space. params: value by key. bound_ns: as `shortest_pass_ns`."""

    params: Mapping[str, Value]
    config: Config
    bound_ns: int | None

    @property
    def overrides(self) -> list[str]:
        """The setting as the command line takes it."""
        return overrides_of(self.params)

    @property
    def key(self) -> str:
        """Identifies the setting in its space."""
        return key_of(self.params)


def overrides_of(params: Mapping[str, Value]) -> list[str]:
    """Values by key as the command line takes them."""
    return [f"{key}={override_text(value)}" for key, value in params.items()]


def key_of(params: Mapping[str, Value]) -> str:
    """`Candidate.key` of params."""
    return " ".join(sorted(overrides_of(params)))


def default_values(name: str, config: Config) -> list[Value]:
    """The values of a knob that a search tries if the request gives none."""
    hint, setting = _HINTS[name], KNOBS[name]
    if isinstance(hint, type) and issubclass(hint, Enum):
        return [each.value for each in hint]
    if hint is bool:
        return [False, True]
    least = int(setting.least or 0)
    # More submissions or tiles in flight than tiles have no effect.
    most = min(int(setting.most or MOST_VALUE), config.workload.tiles, MOST_VALUE)
    if name == "columns":
        most = config.device.columns
    values: list[Value] = [*range(least, min(most, EVERY_VALUE) + 1)]
    double = 2 * EVERY_VALUE
    while double <= most:
        values.append(double)
        double *= 2
    return values


def checked_values(name: str, key: str, given: Iterable[Any]) -> list[Value]:
    """The values that a request gives for a knob; RequestError for one that is not allowed."""
    hint, values = _HINTS[name], list[Value]()
    for each in given:
        text = f"{key}={override_text(each)}"
        if isinstance(hint, type) and issubclass(hint, Enum):
            if str(each) not in hint.__members__:
                raise RequestError(f"{text}: unknown; {nearest(str(each), hint.__members__)}")
            values.append(str(each))
            continue
        if type(each) is not hint:
            kind = "true or false" if hint is bool else "a whole number"
            raise RequestError(f"{text}: not allowed; give {kind}")
        KNOBS[name].check(key, each)
        values.append(each)
    return list(dict.fromkeys(values))


def knob_of(key: str) -> str:
    """The name of the knob that an override sets; empty for another key."""
    name = key.removeprefix("strategy.")
    return name if name in KNOBS and key in ("depth", f"strategy.{name}") else ""


def candidates(bases: Sequence[Base]) -> list[Candidate]:
    """All settings that differ in their effect and can run, the ones with the least effort first.

    RequestError if there are too many, or if none can run: then with the reason of the first.
    """
    count = sum(prod(map(len, base.knobs.values())) for base in bases)
    if count > MOST_SETTINGS:
        raise RequestError(
            f"the space has {count:,} settings; at most {MOST_SETTINGS:,} are allowed: give "
            "values for some knobs, as in strategy.batch=1,2,4 or depth=range(1,9)"
        )
    found, seen = dict[str, Candidate](), set[str]()
    refused = list[RequestError]()
    for base in bases:
        for params, strategy in _settings(base, refused):
            try:
                config = replace(base.config, strategy=strategy)
                if (effect := _effect(config)) in seen:
                    continue
                seen.add(effect)
                plan = make_plan(config)
            except RequestError as error:
                refused.append(error)
                continue
            # Fewer contexts than asked for can make two settings equal.
            if (effect := _effect(plan.config)) not in found:
                found[effect] = Candidate(params, config, shortest_pass_ns(plan))
    if not found:
        raise refused[0]
    return sorted(found.values(), key=lambda each: _effort(each.config.strategy))


def _settings(
    base: Base, refused: list[RequestError]
) -> Iterator[tuple[dict[str, Value], Strategy]]:
    """Each setting of a base with its strategy; errors of those that are not allowed."""
    for values in product(*base.knobs.values()):
        params = dict(zip(base.knobs, values, strict=True))
        knobs = {knob_of(key): _typed(knob_of(key), value) for key, value in params.items()}
        try:
            yield {**base.params, **params}, replace(base.config.strategy, **knobs)
        except RequestError as error:
            refused.append(error)


def _typed(name: str, value: Value) -> Any:
    return _HINTS[name](value)


def _effect(config: Config) -> str:
    """Equal for two settings that the executor cannot tell apart (`harness.execution.executor`)."""
    strategy = config.strategy
    submissions = -(-config.workload.tiles // strategy.batch)
    # As text: the workload may have lists.
    return repr(
        (
            config.workload,
            replace(strategy, depth=1, prefetch=0),
            min(strategy.in_flight, submissions),
            min(strategy.slots, submissions),
        )
    )


def _effort(strategy: Strategy) -> tuple[object, ...]:
    """Of equally fast settings, the search prefers the one with fewer contexts and bos."""
    return strategy.columns, strategy.slots * strategy.batch, strategy.slots, strategy.resident
