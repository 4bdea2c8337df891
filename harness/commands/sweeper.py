"""Hydra's basic sweeper, made to check every job of a sweep before the first one runs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from omegaconf import DictConfig

from harness.config.compose import SWEEPER_TARGET, build, deciding_part
from harness.config.schema import Config
from harness.run.prepare import preflight

_plugins = (
    Plugins.instance()
)  # its scan executes the core plugins anew: only after it are their classes final
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper  # noqa: E402

on_begin: list[Callable[[Config, Path], None]] = []
"""Told the first job's configuration and the sweep's folder when all jobs have been found right."""


class OnceLoader:
    """A config loader that keeps what it composed for a job until the job is launched: composing takes 0.1 s."""

    def __init__(self, loader: ConfigLoader) -> None:
        self._loader = loader
        self._composed: dict[tuple[str, ...], DictConfig] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def check(self, master: DictConfig, job: Sequence[str]) -> Config:
        """Compose a job's configuration, keep it and return it built; raises if the job could not begin."""
        composed = self._loader.load_sweep_config(master, list(job))
        self._composed[tuple(job)] = composed
        return preflight(build(composed))

    def load_sweep_config(
        self, master_config: DictConfig, sweep_overrides: list[str]
    ) -> DictConfig:
        """What was kept for the job, once; composed anew after that."""
        kept = self._composed.pop(tuple(sweep_overrides), None)
        return (
            kept
            if kept is not None
            else self._loader.load_sweep_config(master_config, sweep_overrides)
        )


def repeated_jobs(jobs: Sequence[list[str]], configs: Sequence[Config]) -> list[list[str]]:
    """The jobs that differ from one before them only in a `depth` that their strategy ignores."""
    first: dict[tuple[str, ...], list[Config]] = {}
    repeated = []
    for job, config in zip(jobs, configs, strict=True):
        others = tuple(text for text in job if text.lstrip("+").partition("=")[0] != "depth")
        alike, part = first.setdefault(others, []), deciding_part(config)
        if part in alike:
            repeated.append(job)
        else:
            alike.append(part)
    return repeated


class CheckedSweeper(BasicSweeper):
    """The basic sweeper, which composes its jobs ahead, but only after writing; this one builds them too."""

    def setup(self, *, hydra_context: Any, task_function: Any, config: DictConfig) -> None:
        """As Hydra calls it."""
        self._once = OnceLoader(hydra_context.config_loader)
        context = replace(hydra_context, config_loader=self._once)
        super().setup(hydra_context=context, task_function=task_function, config=config)

    def sweep(self, arguments: list[str]) -> Any:
        """Run the sweep; RequestError or Hydra's own error, and nothing written, if any job of it is wrong."""
        master = cast(DictConfig, self.config)
        folder = Path(
            master.hydra.sweep.dir
        )  # before composing: the jobs take over the time in its name
        parser = OverridesParser.create(cast(ConfigLoader, self._once))
        overrides = parser.parse_overrides([*self._parse_config(), *arguments])
        jobs = [job for batch in self.split_arguments(overrides, None) for job in batch]
        configs = [self._once.check(master, job) for job in jobs]
        self._repeated = repeated_jobs(jobs, configs)
        if self._repeated:
            print(
                f"harness: {len(self._repeated)} of {len(jobs)} jobs are not run: each differs from another "
                "only in a depth that its strategy ignores",
                file=sys.stderr,
            )
        for tell in on_begin:
            tell(configs[0], folder)
        return super().sweep(arguments)

    def get_job_batch(self) -> Sequence[Sequence[str]]:
        """The next jobs, without those that repeat another."""
        return [job for job in super().get_job_batch() if job not in self._repeated]

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Nothing: `sweep` has done it."""


def register() -> None:
    """Give Hydra the sweeper that the configuration names.

    Hydra instantiates plugins of the package `hydra_plugins` only, so this module gets a name in it.
    """
    package, _, name = SWEEPER_TARGET.rpartition(".")[0].rpartition(".")
    parent = sys.modules.setdefault(package, ModuleType(package))
    setattr(parent, name, sys.modules[__name__])
    CheckedSweeper.__module__ = f"{package}.{name}"
    sys.modules[CheckedSweeper.__module__] = sys.modules[__name__]
    _plugins.register(CheckedSweeper)
