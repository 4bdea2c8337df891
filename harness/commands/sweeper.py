"""Hydra's basic sweeper, made to check every job of a sweep before the first one runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig

from harness.commands.hydra_private import BasicSweeper, plugin
from harness.config.compose import SWEEPER_TARGET, Config, build
from harness.run.prepare import preflight

OnBegin = Callable[[Config, Path], None]
"""Called with the first job's configuration and the sweep's folder, when all jobs have passed."""


class OnceLoader:
    """A config loader that keeps a job's composed configuration until the job is launched.

    Composing takes 0.1 s.
    """

    def __init__(self, loader: ConfigLoader) -> None:
        self._loader = loader
        self._composed: dict[tuple[str, ...], DictConfig] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def check(self, master: DictConfig, job: Sequence[str]) -> Config:
        """Compose a job's configuration, keep it, return it built; raises if it cannot begin."""
        composed = self._loader.load_sweep_config(master, list(job))
        self._composed[tuple(job)] = composed
        return preflight(build(composed))

    def load_sweep_config(
        self, master_config: DictConfig, sweep_overrides: list[str]
    ) -> DictConfig:
        """The configuration that `check` composed for the job, once; composed anew after that."""
        composed = self._composed.pop(tuple(sweep_overrides), None)
        if composed is None:
            return self._loader.load_sweep_config(master_config, sweep_overrides)
        return composed


class CheckedSweeper(BasicSweeper):
    """Composes and builds every job before it writes; the basic sweeper writes first."""

    on_begin: OnBegin

    def setup(self, *, hydra_context: Any, task_function: Any, config: DictConfig) -> None:
        """Set up as Hydra asks, with a loader that composes each job once."""
        self._once = OnceLoader(hydra_context.config_loader)
        context = replace(hydra_context, config_loader=self._once)
        super().setup(hydra_context=context, task_function=task_function, config=config)

    def sweep(self, arguments: list[str]) -> Any:
        """Run the sweep; RequestError or Hydra's error, and nothing written, if a job is wrong."""
        master = cast(DictConfig, self.config)
        # Read before composing: the jobs take over the time in its name.
        folder = Path(master.hydra.sweep.dir)
        parser = OverridesParser.create(cast(ConfigLoader, self._once))
        overrides = parser.parse_overrides([*self._parse_config(), *arguments])
        jobs = [job for batch in self.split_arguments(overrides, None) for job in batch]
        configs = [self._once.check(master, job) for job in jobs]
        self.on_begin(configs[0], folder)
        return super().sweep(arguments)

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Nothing: `sweep` has validated all batches."""


@contextmanager
def checked_sweeper(on_begin: OnBegin) -> Iterator[None]:
    """Register with Hydra, in this context, a CheckedSweeper that calls `on_begin`."""
    bound = type("CheckedSweeper", (CheckedSweeper,), {"on_begin": staticmethod(on_begin)})
    with plugin(bound, SWEEPER_TARGET):
        yield
