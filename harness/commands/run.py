"""Run the main command: compose with Hydra, execute, store the record, print the table."""

from __future__ import annotations

import gc
import logging
import os
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from harness.commands import main as command_line
from harness.commands import terminal
from harness.commands.hydra_argv import (
    both_accountings,
    is_key,
    is_word,
    overrides_last,
    refuse_words,
)
from harness.commands.hydra_private import Arguments, parse, run_application
from harness.commands.run_folder import discard, temporary_folder
from harness.commands.sweeper import checked_sweeper
from harness.config import compose as configuration
from harness.config.schema import Config, TrackingKind
from harness.device.interrupt import exit_code
from harness.errors import HarnessError, RequestError
from harness.report.progress import PassBar
from harness.report.runs import footnotes, table
from harness.report.trace import save_trace
from harness.results.record import FILE_NAME as RECORD_NAME
from harness.results.record import Record, record_of
from harness.results.speedup import speedups
from harness.run.experiment import Experiment
from harness.run.outcome import Outcome
from harness.tracking import mlflow as tracking

HELP = "run tiles or an encoder with a strategy (its name may be left out)"
OUTPUTS = Path("outputs")
OF_COMPOSING = (HydraException, OmegaConfBaseException, YAMLError, ValueError, TypeError)
"""What Hydra raises for a wrong request."""
log = logging.getLogger("harness")


@dataclass
class Invocation:
    """One invocation of the command: its arguments, its runs, and the exit codes that they ask for.

    here: the folder it was started in. started: whether Hydra has called the first job.
    """

    arguments: Sequence[str]
    here: Path = field(default_factory=Path.cwd)
    started: bool = False
    sweep: tuple[Config, Path] | None = None
    runs: list[tuple[Record, Path]] = field(default_factory=list)
    exit_codes: set[int] = field(default_factory=lambda: {0})
    said: set[str] = field(default_factory=set)
    untracked: bool = False

    def execute(self) -> int:
        """Run Hydra's application on the arguments; returns the exit code."""
        interrupted = False
        try:
            self._run_hydra()
        except KeyboardInterrupt:
            interrupted = True
            self.say("interrupted")
        if self.sweep:
            self._end_sweep(*self.sweep)
        if interrupted:
            return exit_code()
        if self.runs and 2 in self.exit_codes:  # a job of a sweep could not be run, others were
            return 1
        return 1 if 1 in self.exit_codes else max(self.exit_codes)

    def say(self, line: str, subject: str = "") -> None:
        """Say a line once; of lines on the same subject, the first."""
        if (subject or line) not in self.said:
            self.said.add(subject or line)
            terminal.say(line)

    def _run_hydra(self) -> None:
        try:
            arguments, parsed = self._parsed()
            if parsed.prints:
                with terminal.output("output"):
                    self._apply(arguments)
            else:
                self._run_jobs(arguments)
        except (HarnessError, *OF_COMPOSING) as error:
            if self.started or isinstance(error, terminal.OutputError):
                raise
            self._refuse(error)

    def _parsed(self) -> tuple[list[str], Arguments]:
        """The arguments as Hydra takes them; RequestError where it could not."""
        arguments = overrides_last(self.arguments)
        if both := both_accountings(arguments):
            arguments.append(both)
            self.say(
                f"phases are run by either accounting ({both}); give one, or a workload, for less"
            )
        parsed = parse(arguments)
        refuse_words(parsed.words)
        return arguments, parsed

    def _apply(self, arguments: Sequence[str]) -> None:
        configuration.register()
        with checked_sweeper(self.begin_sweep):
            run_application(self.job, arguments, configuration.conf_dir())

    def _run_jobs(self, arguments: Sequence[str]) -> None:
        try:
            self._apply(arguments)
        except OSError as error:
            if isinstance(error, HydraException):  # a preset that does not exist
                raise
            if self.started:
                self.say(f"the sweep ends here: {error}")
                self.exit_codes.add(1)
                return
            # The run's folder cannot be made: run all the same, and store the record elsewhere.
            folder = temporary_folder()
            self.say(f"outputs cannot be written ({error}); the results go to {folder}")
            moved = [
                f"hydra.run.dir={folder}",
                f"hydra.sweep.dir={folder}",
                "hydra.output_subdir=null",
            ]
            try:
                self._apply([*arguments, *moved])
            except OSError as again:
                self.say(f"nor can {folder} ({again}); free space")
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
        gc.freeze()  # the jobs' configurations live until they run: collections may skip them
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
            discard(folder)
            self._refuse(error)
        except Exception as error:
            log.debug("internal error", exc_info=True)
            self.say(
                f"internal error: {type(error).__name__}: {error}; "
                f"the traceback is in {folder / 'harness.log'}"
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
            self._show([record])
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
                f"{folder}: the {what} cannot be written ({error}); "
                "free space or choose hydra.run.dir"
            )
            self.exit_codes.add(1)

    @contextmanager
    def _tracked(self) -> Iterator[None]:
        """MLflow failing costs the exit code, not the run, and it is not asked again."""
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
            self._show(records)

    def _show(self, records: list[Record]) -> None:
        """Print the table, after all is stored: a closed or full stdout loses no run."""
        rows = table(records, speedups(records))
        try:
            terminal.show([rows, *footnotes(records)], "table", "the record has it all")
        except terminal.OutputError as error:
            self.say(str(error))
            self.exit_codes.add(1)


def main(arguments: Sequence[str]) -> int:
    """Run what the arguments ask for, the flags of Hydra's included; returns the exit code."""
    if "--version" in arguments:
        with terminal.output("version"):
            print(command_line.version())
        return 0
    if arguments and is_word(arguments[0]) and not is_key(arguments[0]):
        raise command_line.no_command(arguments[0])
    return Invocation(arguments).execute()
