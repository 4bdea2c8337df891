"""The command: Hydra composes, the experiment runs, the record is filed, the terminal is told."""

from __future__ import annotations

import gc
import logging
import os
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from harness.commands import sweeper
from harness.commands.hydra_argv import (
    both_accountings,
    overrides_last,
    refuse_unknown_flags,
    unchecked_help,
)
from harness.config import compose as configuration
from harness.config.compose import Config, TrackingKind
from harness.errors import HarnessError, RequestError
from harness.report.progress import PassBar
from harness.report.runs import footnotes, table
from harness.report.tables import show
from harness.report.trace import save_trace
from harness.results.record import FILE_NAME as RECORD_NAME
from harness.results.record import Record, record_of
from harness.results.speedup import speedups
from harness.run.experiment import Experiment
from harness.run.outcome import Outcome
from harness.tracking import mlflow as tracking

log = logging.getLogger("harness")

OUTPUTS = Path("outputs")


@dataclass
class Command:
    """One invocation: what it has run, and what it will answer to the shell."""

    here: Path = field(default_factory=Path.cwd)
    started: bool = False
    folder: Path | None = None
    sweep: tuple[Config, Path] | None = None
    runs: list[tuple[Record, Path]] = field(default_factory=list)
    exit_codes: set[int] = field(default_factory=lambda: {0})
    said: set[str] = field(default_factory=set)
    untracked: bool = False

    def execute(self) -> int:
        """Run Hydra's application on sys.argv; returns the exit code. KeyboardInterrupt goes on when all is told."""
        configuration.register()
        sweeper.register()
        sweeper.on_begin[:] = [self.begin_sweep]
        gc.set_threshold(
            50_000, 20, 100
        )  # composing makes objects by the ten thousand: collecting cost 15 ms a job
        logging.raiseExceptions = False  # a log that can't be written is no reason to fail
        sys.argv[1:] = overrides_last(sys.argv[1:])
        if both := both_accountings(sys.argv[1:]):
            sys.argv.append(both)
            self.say(
                f"phases are run by either accounting ({both}); give one, or a workload, for less"
            )
        os.environ["HYDRA_FULL_ERROR"] = (
            "1"  # has Hydra raise to us instead of printing and exiting with 1
        )
        interrupted = False
        try:
            with unchecked_help():
                self._run_hydra()
        except KeyboardInterrupt:
            interrupted = True
            self.say("interrupted")
        if self.sweep:
            self._end_sweep(*self.sweep)
        if interrupted:
            raise KeyboardInterrupt
        if self.runs and 2 in self.exit_codes:  # a job of a sweep could not be run, others were
            return 1
        return 1 if 1 in self.exit_codes else max(self.exit_codes)

    def say(self, line: str, subject: str = "") -> None:
        """A line on stderr, once; of lines on the same subject, the first."""
        if (subject or line) not in self.said:
            self.said.add(subject or line)
            print(f"harness: {line}", file=sys.stderr)

    def _run_hydra(self) -> None:
        application = hydra.main(
            version_base="1.3", config_path=str(configuration.conf_dir()), config_name="config"
        )(self.job)
        try:
            refuse_unknown_flags(sys.argv[1:])
            application()
        except (
            HarnessError,
            HydraException,
            OmegaConfBaseException,
            YAMLError,
            ValueError,
            TypeError,
        ) as error:
            if self.started:
                raise
            self._refuse(error)
        except OSError as error:
            if self.started:
                self.say(f"the sweep ends here: {error}")
                self.exit_codes.add(1)
                return
            # The run's folder can't be made. The experiment can run all the same, its record be kept elsewhere.
            kept = _elsewhere()
            self.say(f"outputs cannot be written ({error}); the results go to {kept}")
            sys.argv += [
                f"hydra.run.dir={kept}",
                f"hydra.sweep.dir={kept}",
                "hydra.output_subdir=null",
            ]
            try:
                application()
            except OSError as again:
                self.say(f"nor can {kept} ({again}); free space")
                self.exit_codes.add(1)
            if self.runs:
                self.exit_codes.add(1)

    def _refuse(self, error: Exception) -> None:
        """Say why the request was wrong, and leave the traceback in outputs/harness.log."""
        self.say(str(error) if isinstance(error, HarnessError) else configuration.explain(error))
        self.exit_codes.add(2)
        with suppress(OSError):
            OUTPUTS.mkdir(exist_ok=True)
            with (OUTPUTS / "harness.log").open("a") as file:
                traceback.print_exception(error, file=file)

    def begin_sweep(self, config: Config, folder: Path) -> None:
        """All jobs of a sweep are right: open the MLflow run that they will hang under."""
        self.sweep = config, folder
        gc.freeze()  # the jobs' configurations live until they run: collections need not look through them each time
        with self._tracked():
            if store := self._store(config):
                os.environ[tracking.PARENT_VARIABLE] = store.begin_sweep(
                    f"sweep {folder.name}", folder.absolute()
                )

    def job(self, cfg: DictConfig) -> None:
        """One run, as Hydra calls it."""
        self.started = True
        folder = Path(HydraConfig.get().runtime.output_dir)
        if (folder / RECORD_NAME).exists():
            self._refuse(
                RequestError(
                    f"{folder / RECORD_NAME}: is there already; give the run a folder of its own"
                )
            )
            return
        try:
            self._job(cfg, folder)
        except RequestError as error:
            _discard(folder)
            self._refuse(error)
        except Exception as error:
            log.debug("internal error", exc_info=True)
            self.say(
                f"internal error: {type(error).__name__}: {error}; the traceback is in {folder / 'harness.log'}"
            )
            self.exit_codes.add(1)

    def _job(self, cfg: DictConfig, folder: Path) -> None:
        hydra_config = HydraConfig.get()
        config = configuration.build(cfg)
        overrides = cast(
            list[str], OmegaConf.to_container(hydra_config.overrides.task, resolve=False)
        )
        if ignored := configuration.ignored_depth(cfg, overrides):
            self.say(ignored, "ignored depth")
        resolved = cast(dict[str, Any], OmegaConf.to_container(cfg, resolve=True, enum_to_str=True))
        preset = str(hydra_config.runtime.choices["strategy"])
        experiment = Experiment(config)
        for remark in experiment.remarks:
            self.say(remark)
        measure = config.measure
        bar = PassBar(config.strategy.label, 1 + measure.warmup + measure.repeats)
        try:
            outcome = experiment.run(bar)
        finally:
            bar.close()
        record = record_of(outcome, resolved, preset, overrides)
        self.runs.append((record, folder))
        self.exit_codes.add(0 if record.ok else 1)
        log.info("%s: %s %s", record.name, record.verdict.value, record.reason)
        self._file(config, record, outcome, folder)
        if hydra_config.mode is not RunMode.MULTIRUN:
            self._told([record])
        if outcome.interrupted:
            raise KeyboardInterrupt

    def _file(self, config: Config, record: Record, outcome: Outcome, folder: Path) -> None:
        """Record first, MLflow after."""
        timeline, paths = outcome.timeline, list[Path]()
        with self._written(folder, "record"):
            paths.append(record.save(folder))
        if not paths:
            return
        with self._written(folder, "trace"):
            if timeline:
                paths.append(save_trace(timeline, record.name, folder))
        composed = folder / ".hydra" / "config.yaml"
        with self._tracked():
            if store := self._store(config):
                parent = os.environ.get(tracking.PARENT_VARIABLE)
                store.log(record, folder, [*paths, *[composed] * composed.is_file()], parent)

    def _store(self, config: Config) -> tracking.Store | None:
        wanted = config.tracking
        if wanted.kind is TrackingKind.off or self.untracked:
            return None
        return tracking.open_store(wanted.uri, wanted.artifacts, wanted.experiment, self.here)

    @contextmanager
    def _written(self, folder: Path, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            log.debug("cannot write", exc_info=True)
            self.say(
                f"{folder}: the {what} cannot be written ({error}); free space or choose hydra.run.dir"
            )
            self.exit_codes.add(1)

    @contextmanager
    def _tracked(self) -> Iterator[None]:
        """MLflow failing costs the exit code, not the run: the record is on disk. It is not asked again."""
        try:
            yield
        except tracking.TrackingError as error:
            log.debug("tracking failed", exc_info=True)
            self.untracked = True
            self.say(f"{error}; the record is kept, but not in MLflow (tracking=off does without)")
            self.exit_codes.add(1)

    def _end_sweep(self, config: Config, folder: Path) -> None:
        """One table of all runs, and the sweep's MLflow run closed."""
        runs = self.runs or [
            (Record.load(path.parent), path.parent) for path in sorted(folder.glob("*/record.json"))
        ]
        records = [record for record, _ in runs]
        parent = os.environ.pop(tracking.PARENT_VARIABLE, None)
        with self._tracked():
            if parent and (store := self._store(config)):
                found = zip(runs, speedups(records), strict=True)
                by_folder = {
                    str(path.absolute()): speedup for (_, path), speedup in found if speedup
                }
                store.end_sweep(parent, [record.verdict for record in records], by_folder)
        if records:
            self._told(records)

    def _told(self, records: list[Record]) -> None:
        """The table, after all is filed: a closed or full stdout loses no run."""
        try:
            show([table(records, speedups(records)), *footnotes(records)])
        except OSError as error:
            self.say(f"the table cannot be printed ({error}); the record has it all")
            self.exit_codes.add(1)


def _elsewhere() -> str:
    """A temporary folder, or this one where there is none: then only the table remains."""
    try:
        return tempfile.mkdtemp(prefix="harness-")
    except OSError:
        return "."


def _discard(folder: Path) -> None:
    """Take away what Hydra wrote for a run that never was, and the folders that leaves empty."""
    for name in ("config.yaml", "hydra.yaml", "overrides.yaml"):
        with suppress(OSError):
            (folder / ".hydra" / name).unlink()
    here = Path.cwd()
    parents = [
        parent for parent in folder.parents if parent.is_relative_to(here) and parent != here
    ]
    for handler in logging.getLogger().handlers[:]:
        if isinstance(
            handler, logging.FileHandler
        ):  # it would open its file in the folder that goes
            logging.getLogger().removeHandler(handler)
    with suppress(OSError):
        for empty in (folder / ".hydra", folder, *parents):
            empty.rmdir()
