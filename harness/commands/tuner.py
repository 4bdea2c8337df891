"""Hydra's sweeper for `harness tune`: runs the settings that a search asks for, one by one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from itertools import product
from pathlib import Path
from typing import Any, Protocol, cast

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf, open_dict

from harness.commands.closing import OUTPUTS
from harness.commands.hydra_private import plugin
from harness.commands.resume import Request
from harness.commands.sweep_plan import SweepPlan
from harness.commands.sweeper import CheckedSweeper, Launcher
from harness.config.compose import SWEEPER_TARGET, requested, resolved
from harness.config.schema import Config
from harness.config.strategy import Strategy
from harness.errors import RequestError
from harness.results.run_key import run_key
from harness.study.space import (
    Base,
    Candidate,
    Value,
    candidates,
    checked_values,
    default_values,
    knob_of,
    overrides_of,
)

FOLDER = OUTPUTS / "tune"
"""The folder below which studies have theirs."""
OPEN_DEPTH = "${depth}"
"""What a preset has as its depth if the key `depth` sets it."""


@dataclass(frozen=True)
class TuningStudy:
    """What a tuning request asks for. fixed: its overrides that all settings share.

    config: of the first base. identity: equal for requests that continue each other. folder: of the
    study and its runs.
    """

    config: Config
    space: Sequence[Candidate]
    fixed: Sequence[str]
    identity: str
    folder: Path

    @property
    def knobs(self) -> list[str]:
        """Keys that have several values in the space."""
        params = [each.params for each in self.space]
        keys = dict.fromkeys(key for each in params for key in each)
        return [key for key in keys if len({each.get(key) for each in params}) > 1]


@dataclass(frozen=True)
class TuningJob:
    """A setting as a job of the sweep. tracking: the resolved group."""

    request: Request
    tracking: Mapping[str, Any]
    texts: list[str]


class Jobs(Protocol):
    """Composes and runs the settings of a study."""

    def check(self, candidate: Candidate) -> TuningJob:
        """Compose a setting; RequestError if it cannot run."""

    def launch(self, job: TuningJob, number: int) -> None:
        """Run a job in the study's folder under this number."""


class Tuner(Protocol):
    """Runs a study."""

    def name(self, config: Config) -> str:
        """The first part of the name of a study's folder."""

    def run(self, study: TuningStudy, jobs: Jobs) -> None:
        """Run the study to its end."""


class TuningSweeper(CheckedSweeper):
    """Composes the space of a search from the overrides, and runs what the tuner asks for."""

    tuner: Tuner

    def sweep(self, arguments: list[str]) -> Any:
        """Run the study; RequestError or Hydra's error, and nothing written, if it is wrong."""
        self._refuse_launcher("tune")
        master = cast(DictConfig, self.config)
        overrides = self._overrides(arguments)
        # Of two values of one key, the last one counts.
        by_key = {each.get_key_element(): each for each in overrides}
        swept = {key: _values(each) for key, each in by_key.items() if each.is_sweep_override()}
        self._fixed = [
            f"{key}={each.get_value_element_as_str()}" if not each.is_delete() else f"{key}"
            for key, each in by_key.items()
            if key not in swept
        ]
        bases, identities = list[Base](), list[str]()
        for params in _choices(swept):
            config, composed = self._once.check(master, [*self._fixed, *overrides_of(params)])
            free = _free_knobs(config, composed, set(by_key) - set(swept), "strategy" in by_key)
            bases.append(Base(config, params, _knobs(config, free, swept)))
            identities.append(run_key(resolved(composed)))
        space = candidates(bases)
        config = bases[0].config
        name = self.tuner.name(config)
        content = [name, identities, [each.key for each in space]]
        digest = hashlib.sha256(json.dumps(content).encode()).hexdigest()
        identity = f"{name}-{digest[:8]}"
        folder = self._folder(master, identity)
        study = TuningStudy(config, space, self._fixed, identity, folder)
        self._launcher = Launcher(self.launcher, SweepPlan(config, folder, ()))
        self.tuner.run(study, self)
        return []

    def check(self, candidate: Candidate) -> TuningJob:
        """Compose a setting; RequestError if it cannot run."""
        texts = [*self._fixed, *candidate.overrides]
        _, composed = self._once.check(cast(DictConfig, self.config), texts)
        plain = resolved(composed)
        request = Request(run_key(plain), *requested(composed.hydra))
        return TuningJob(request, plain["tracking"], texts)

    def launch(self, job: TuningJob, number: int) -> None:
        """Run a job in the study's folder under this number."""
        self._begin_folder(Path(cast(DictConfig, self.config).hydra.sweep.dir))
        self._launcher.launch([job.texts], number)

    def _folder(self, master: DictConfig, identity: str) -> Path:
        """The folder of the study, which the jobs get too: that of the request, or its own."""
        overrides = master.hydra.overrides.hydra
        if any(text.startswith("hydra.sweep.dir=") for text in overrides):
            return Path(master.hydra.sweep.dir)
        folder = FOLDER / identity
        with open_dict(master.hydra):
            master.hydra.sweep.dir = str(folder)
            overrides.append(f"hydra.sweep.dir={folder}")
        return folder


def _values(override: Override) -> list[Any]:
    """The values of an override with several; RequestError for a continuous interval."""
    if not override.is_discrete_sweep():
        raise RequestError(
            f"{override.input_line}: knobs are whole numbers; give range(1,9), or values as 1,2,4"
        )
    return [getattr(each, "text", each) for each in override.sweep_iterator()]


def _choices(swept: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, Value]]:
    """Each combination of presets and fused kernels that the request names."""
    keys = [key for key in ("strategy", "workload.fused") if key in swept]
    for key in swept:
        if key not in keys and not knob_of(key):
            names = ", ".join(item.name for item in fields(Strategy))
            raise RequestError(
                f"{key}: tune varies strategy, workload.fused, depth, and strategy.<knob> for "
                f"{names}; give one value of {key}, or use -m"
            )
    for values in product(*(swept[key] for key in keys)):
        yield dict(zip(keys, values, strict=True))


def _free_knobs(
    config: Config, composed: DictConfig, fixed: set[str], named: bool
) -> dict[str, str]:
    """The knobs that vary unless the request gives one value, as knob -> key of the override.

    fixed: keys with one value. named: the request names strategies, which then keep their knobs.
    """
    plain = cast(dict[str, Any], OmegaConf.to_container(composed.strategy, resolve=False))
    takes_depth = plain["depth"] == OPEN_DEPTH
    fixed_knobs = {knob_of(key) for key in fixed}
    free = dict[str, str]()
    for item in fields(Strategy):
        key = "depth" if item.name == "depth" and takes_depth else f"strategy.{item.name}"
        if item.name in fixed_knobs or item.name not in config.phase.allows:
            continue
        if not named or key == "depth":
            free[item.name] = key
    return free


def _knobs(
    config: Config, free: Mapping[str, str], swept: Mapping[str, Sequence[Any]]
) -> dict[str, list[Value]]:
    """The values of each knob by the key of its override: those of the request, or the schema's."""
    given = {knob_of(key): (key, values) for key, values in swept.items() if knob_of(key)}
    knobs = {key: default_values(name, config) for name, key in free.items() if name not in given}
    for name, (key, values) in given.items():
        # A preset that ignores `depth` has one depth.
        if key != "depth" or free.get(name) == key:
            knobs[key] = checked_values(name, key, values)
    return knobs


@contextmanager
def tuning_sweeper(tuner: Tuner) -> Iterator[None]:
    """Register with Hydra, in this context, a TuningSweeper for `tuner`."""
    bound = type("CheckedSweeper", (TuningSweeper,), {"tuner": tuner})
    with plugin(bound, SWEEPER_TARGET):
        yield
