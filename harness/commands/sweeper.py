"""Hydra's basic sweeper, extended to check every job of a sweep before the first one runs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from hydra.core.config_loader import ConfigLoader
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from harness.commands.hydra_private import BasicLauncher, BasicSweeper, forget_plugin, plugin
from harness.commands.launchers import check_alone, check_launcher, measures_real_time
from harness.commands.resume import Request
from harness.commands.serial_jobs import SerialJobs
from harness.commands.sweep_plan import Job, SweepPlan, plan_of
from harness.config.compose import (
    SWEEPER_TARGET,
    build,
    deciding_part,
    register,
    requested,
    resolved,
)
from harness.config.loader import loader_in_worker
from harness.config.schema import Config, Resume
from harness.config.sources import key_and_value
from harness.errors import HarnessError, InternalError, RequestError
from harness.execution.prepare import preflight
from harness.results.find import SWEEP_FILE
from harness.results.run_key import run_key

OnBegin = Callable[[SweepPlan], None]
"""Called with the plan of a sweep after all checks passed, before anything runs."""
KEPT_CONFIGURATIONS = 256
"""Jobs that are composed once only; the others again when they run, so that memory is bounded."""


class OnceLoader:
    """A config loader that keeps jobs' composed configurations until the jobs are launched."""

    def __init__(self, loader: ConfigLoader) -> None:
        self._loader = loader
        self._composed: dict[tuple[str, ...], DictConfig] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return _in_worker, (self._loader.get_search_path(),)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def check(self, master: DictConfig, job: Sequence[str]) -> tuple[Config, DictConfig]:
        """Compose, store and build a job's configuration; raises if the job cannot begin.

        InternalError for what is neither Hydra's nor a RequestError.
        """
        composed = self._loader.load_sweep_config(master, list(job))
        if len(self._composed) < KEPT_CONFIGURATIONS:
            self._composed[tuple(job)] = composed
        try:
            return preflight(build(composed)), composed
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


def _in_worker(path: ConfigSearchPath) -> OnceLoader:
    """The copy of a loader in a process that runs jobs for a launcher."""
    register()
    return OnceLoader(loader_in_worker(path))


class Launcher:
    """Hydra's launcher, with the numbers of jobs shifted, and without the jobs' return values.

    Jobs of this process run without Hydra's own launcher, which keeps two configurations of each.
    """

    def __init__(self, launcher: Any, plan: SweepPlan) -> None:
        self._launcher, self._first, self._plan = launcher, plan.first_number, plan
        self._serial = SerialJobs(launcher.hydra_context, launcher.task_function, launcher.config)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[Any]:
        """Run jobs; raises what one of them raised."""
        first = initial_job_idx + self._first
        if self._plan.elsewhere:
            forget_plugin(SWEEPER_TARGET)  # other processes cannot import it
            try:
                for result in self._launcher.launch(job_overrides, initial_job_idx=first):
                    _ = result.return_value
            except OSError as error:  # of the launcher: a job reports its own
                raise HarnessError(f"hydra/launcher: {error}") from error
            return []
        for number, job in enumerate(job_overrides, first):
            self._serial.run(job, number)
        return []


class CheckedSweeper(BasicSweeper):
    """Composes and builds every job before it writes; the basic sweeper writes first."""

    on_begin: OnBegin

    def setup(self, *, hydra_context: Any, task_function: Any, config: DictConfig) -> None:
        """Set up for Hydra, with a loader that composes each job once."""
        self._once = OnceLoader(hydra_context.config_loader)
        context = replace(hydra_context, config_loader=self._once)
        check_launcher(config.hydra.launcher)
        super().setup(hydra_context=context, task_function=task_function, config=config)

    def sweep(self, arguments: list[str]) -> Any:
        """Run the sweep; RequestError or Hydra's error, and nothing written, if a job is wrong."""
        master = cast(DictConfig, self.config)
        # Read first: composing the jobs evaluates the time in its name again.
        folder = Path(master.hydra.sweep.dir)
        overrides = self._overrides(arguments)
        texts = [job for batch in self.split_arguments(overrides, None) for job in batch]
        config, jobs = self._checked(master, texts)
        elsewhere = type(self.launcher) is not BasicLauncher
        if elsewhere:  # other processes may have another current folder
            folder = folder.absolute()
            master.hydra.overrides.hydra.append(f"hydra.sweep.dir={quoted(str(folder))}")
            master.hydra.sweep.dir = str(folder)
        plan = replace(
            plan_of(config, folder, jobs),
            elsewhere=elsewhere,
            overrides=tuple(requested(master.hydra)[1]),
            swept=tuple(swept_keys(overrides)),
        )
        self._runs = iter([job.runs for job in plan.jobs])
        self.launcher: Any = Launcher(self.launcher, plan)
        self.on_begin(plan)
        return super().sweep(arguments) if plan.left else []

    def _overrides(self, arguments: Sequence[str]) -> list[Override]:
        """The overrides of the sweeper's configuration, and those of the command line."""
        parser = OverridesParser.create(cast(ConfigLoader, self._once))
        return parser.parse_overrides([*self._parse_config(), *arguments])

    def _refuse_launcher(self, command: str) -> None:
        """RequestError for a launcher that runs jobs in other processes."""
        if type(self.launcher) is not BasicLauncher:
            raise RequestError(
                f"hydra/launcher: {command} runs one setting after another, in this process; leave "
                "hydra/launcher out"
            )

    def _begin_folder(self, folder: Path) -> None:
        """Create a folder as Hydra does for a sweep, by whose file it is recognised."""
        if not (folder / SWEEP_FILE).exists():
            folder.mkdir(parents=True, exist_ok=True)
            OmegaConf.save(self.config, folder / SWEEP_FILE)

    def _checked(self, master: DictConfig, texts: Sequence[list[str]]) -> tuple[Config, list[Job]]:
        """The configuration of the first job, and all jobs; raises if one cannot begin."""
        first: Config | None = None
        tracking = dict[str, dict[str, Any]]()
        jobs, seen = list[Job](), set[tuple[bytes, ...]]()
        texts_seen = set[tuple[str, ...]]()
        for text in texts:
            config, composed = self._once.check(master, text)
            check_alone(config, master.hydra.launcher)
            first = first or config
            deciding = _deciding(text, config)
            plain = resolved(composed)
            resumes = config.resume is Resume.on
            asked = Request(run_key(plain), *requested(composed.hydra))
            # One copy of the group: a sweep may have 10,000 jobs.
            group = tracking.setdefault(repr(plain["tracking"]), plain["tracking"])
            is_equal = tuple(text) in texts_seen
            repeats, is_timed = deciding in seen, measures_real_time(config)
            job = Job(asked, group, repeats, resumes, is_equal=is_equal, is_timed=is_timed)
            jobs.append(job)
            seen.add(deciding)
            texts_seen.add(tuple(text))
        return cast(Config, first), jobs

    def get_job_batch(self) -> Sequence[Sequence[str]]:
        """The next jobs, without those that repeat another or have run before."""
        # By position: equal jobs have equal overrides, and the first of them runs.
        return [job for job in super().get_job_batch() if next(self._runs)]

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Do nothing: `sweep` has validated all batches."""


def swept_keys(overrides: Sequence[Override]) -> list[str]:
    """The keys that have several values."""
    return [each.key_or_group for each in overrides if each.is_sweep_override()]


def quoted(text: str) -> str:
    """A value in quotes, as Hydra's overrides take it."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _deciding(job: Sequence[str], config: Config) -> tuple[bytes, ...]:
    """Equal for two jobs of a sweep that differ in nothing but a depth that has no effect."""
    others = [text.encode() for text in job if key_and_value(text)[0] != "depth"]
    return (*others, hashlib.sha256(repr(deciding_part(config)).encode()).digest())


@contextmanager
def checked_sweeper(on_begin: OnBegin) -> Iterator[None]:
    """Register with Hydra, in this context, a CheckedSweeper that calls `on_begin`."""
    bound = type("CheckedSweeper", (CheckedSweeper,), {"on_begin": staticmethod(on_begin)})
    with plugin(bound, SWEEPER_TARGET):
        yield
