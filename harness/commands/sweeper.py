"""Hydra's basic sweeper, extended to check every job of a sweep before the first one runs."""

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
from harness.commands.terminal import say
from harness.config.compose import SWEEPER_TARGET, build, deciding_part
from harness.config.schema import Config
from harness.config.sources import key_and_value
from harness.errors import HarnessError, InternalError
from harness.run.prepare import preflight

OnBegin = Callable[[Config, Path], None]
"""Called with the first job's configuration and the sweep's folder, after all checks passed."""


class OnceLoader:
    """A config loader that keeps a job's composed configuration until the job is launched."""

    def __init__(self, loader: ConfigLoader) -> None:
        self._loader = loader
        self._composed: dict[tuple[str, ...], DictConfig] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def check(self, master: DictConfig, job: Sequence[str]) -> Config:
        """Compose, store and build a job's configuration; raises if the job cannot begin.

        InternalError for what is neither Hydra's nor a RequestError.
        """
        composed = self._loader.load_sweep_config(master, list(job))
        self._composed[tuple(job)] = composed
        try:
            return preflight(build(composed))
        except HarnessError:
            raise
        except Exception as error:
            # Hydra raises ValueError, TypeError and OSError too, for wrong requests.
            raise InternalError(
                f"internal error: {type(error).__name__}: {error}; -v prints the traceback"
            ) from error

    def load_sweep_config(
        self, master_config: DictConfig, sweep_overrides: list[str]
    ) -> DictConfig:
        """The configuration that `check` composed for the job, once; after that, a new one."""
        composed = self._composed.pop(tuple(sweep_overrides), None)
        if composed is None:
            return self._loader.load_sweep_config(master_config, sweep_overrides)
        return composed


def repeats(jobs: Sequence[list[str]], configs: Sequence[Config]) -> list[bool]:
    """Whether each job equals one before it, but for a `depth` that its strategy ignores."""
    first: dict[tuple[str, ...], list[Config]] = {}
    repeated = list[bool]()
    for job, config in zip(jobs, configs, strict=True):
        others = tuple(text for text in job if key_and_value(text)[0] != "depth")
        alike, part = first.setdefault(others, []), deciding_part(config)
        repeated.append(part in alike)
        alike.append(part)
    return repeated


class CheckedSweeper(BasicSweeper):
    """Composes and builds every job before it writes; the basic sweeper writes first."""

    on_begin: OnBegin

    def setup(self, *, hydra_context: Any, task_function: Any, config: DictConfig) -> None:
        """Set up for Hydra, with a loader that composes each job once."""
        self._once = OnceLoader(hydra_context.config_loader)
        context = replace(hydra_context, config_loader=self._once)
        super().setup(hydra_context=context, task_function=task_function, config=config)

    def sweep(self, arguments: list[str]) -> Any:
        """Run the sweep; RequestError or Hydra's error, and nothing written, if a job is wrong."""
        master = cast(DictConfig, self.config)
        # Read first: composing the jobs evaluates the time in its name again.
        folder = Path(master.hydra.sweep.dir)
        parser = OverridesParser.create(cast(ConfigLoader, self._once))
        overrides = parser.parse_overrides([*self._parse_config(), *arguments])
        # None: all combinations in one batch, whatever max_batch_size is.
        jobs = [job for batch in self.split_arguments(overrides, None) for job in batch]
        configs = [self._once.check(master, job) for job in jobs]
        repeated = repeats(jobs, configs)
        self._repeated = iter(repeated)
        if any(repeated):
            say(
                f"{sum(repeated)} of {len(jobs)} jobs are not run: each repeats another, or "
                "differs from it only in a depth that its strategy ignores"
            )
        self.on_begin(configs[0], folder)
        return super().sweep(arguments)

    def get_job_batch(self) -> Sequence[Sequence[str]]:
        """The next jobs, without those that repeat another."""
        # By position: equal jobs have equal overrides, and the first of them runs.
        return [job for job in super().get_job_batch() if not next(self._repeated)]

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Do nothing: `sweep` has validated all batches."""


@contextmanager
def checked_sweeper(on_begin: OnBegin) -> Iterator[None]:
    """Register with Hydra, in this context, a CheckedSweeper that calls `on_begin`."""
    bound = type("CheckedSweeper", (CheckedSweeper,), {"on_begin": staticmethod(on_begin)})
    with plugin(bound, SWEEPER_TARGET):
        yield
