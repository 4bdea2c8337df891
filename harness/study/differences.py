"""What differs between the runs of two settings: configuration, code, environment."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from harness.results.identity import KEYS, NO_EFFECT
from harness.results.record import Record

NOISE_SEED = "device.noise.seed"
"""Key that must differ between runs in virtual time with noise, or they are one sample."""
SEEDS = ("seed", NOISE_SEED)
"""Runs that differ in nothing else are repeats of one setting."""
NOT_CONFIGURED = ("depth", NOISE_SEED, "device.sources")
"""Keys that choose nothing: `strategy.depth` is the depth that counts."""
OF_CODE = ("git_commit", "git_dirty", "packages.npu-harness")
NOT_ENVIRONMENT = ("command",)
UNKNOWN = "unknown"
COMMIT_CHARACTERS = 12


@dataclass(frozen=True)
class Differences:
    """Texts such as "strategy.depth 1 -> 2", the reference first; empty where all is equal."""

    configuration: tuple[str, ...] = ()
    code: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """A line for each kind that differs."""
        kinds = {"configuration": self.configuration, "code": self.code}
        kinds["environment"] = self.environment
        return [f"{kind}: {', '.join(texts)}" for kind, texts in kinds.items() if texts]


def differences(reference: Sequence[Record], candidate: Sequence[Record]) -> Differences:
    """What differs between two sides; a side whose own runs differ shows all its values."""
    sides = (reference, candidate)
    configs = [[settings(record.config) for record in side] for side in sides]
    environments = [[_environment(record) for record in side] for side in sides]
    code = list(_changes(environments, lambda key: key in OF_CODE))
    keys = [{record.run_key for record in side} for side in sides]
    configuration = tuple(_changes(configs, lambda key: True))
    environment = tuple(_changes(environments, lambda key: key not in OF_CODE))
    # Uncommitted changes, or the files of a device: nothing else differs but the key of the run.
    noisy = any(NOISE_SEED in flat(record.config) for side in sides for record in side)
    differ = all(keys) and not keys[0] & keys[1]
    if differ and not (configuration or code or environment or noisy):
        code.append("files of the harness, of the kernels or of the device")
    return Differences(configuration, tuple(code), environment)


def settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of a resolved configuration that choose something, with their values."""
    without = (*NOT_CONFIGURED, *(key for key, counts in KEYS.items() if counts is NO_EFFECT))
    return {
        key: value
        for key, value in flat(config).items()
        if not any(key == each or key.startswith(f"{each}.") for each in without)
    }


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A tree as dotted key -> value."""
    result = dict[str, Any]()
    for key, value in tree.items():
        if isinstance(value, Mapping):
            result |= flat(value, f"{prefix}{key}.")
        else:
            result[f"{prefix}{key}"] = value
    return result


def varying(records: Iterable[Record]) -> set[str]:
    """Keys of the configuration that tell settings apart: those with several values.

    Also those that some records lack; seeds are not among them.
    """
    configs = [settings(record.config) for record in records]
    keys = {key for config in configs for key in config} - {*SEEDS}
    return {key for key in keys if len({_text(config.get(key)) for config in configs}) > 1}


def _environment(record: Record) -> dict[str, Any]:
    result = flat(asdict(record.environment))
    if record.machine:
        before = asdict(record.machine.before)
        result |= {f"machine.{key}": value for key, value in flat(before).items()}
    return {key: value for key, value in result.items() if key not in NOT_ENVIRONMENT}


def _changes(
    sides: Sequence[Sequence[Mapping[str, Any]]], wanted: Callable[[str], bool]
) -> Iterator[str]:
    keys = dict.fromkeys(key for side in sides for each in side for key in each)
    for key in filter(wanted, keys):
        old, new = ([*dict.fromkeys(_text(each.get(key)) for each in side)] for side in sides)
        if set(old) != set(new):
            name = key.removeprefix("packages.")
            yield f"{name} {' / '.join(map(_short, old))} -> {' / '.join(map(_short, new))}"


def _text(value: Any) -> str:
    if value is None:
        return UNKNOWN
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _short(text: str) -> str:
    is_hash = len(text) == 40 and all(each in "0123456789abcdef" for each in text)
    return text[:COMMIT_CHARACTERS] if is_hash else text
