"""Run the main command: compose with Hydra, execute, store the record, print the table."""

from __future__ import annotations

import gc
import logging
import traceback
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig

from harness.commands import closing, terminal
from harness.commands import main as command_line
from harness.commands.hydra_argv import (
    both_accountings,
    check_config_dir,
    check_readable,
    config_dir,
    explained,
    is_key,
    is_word,
    overrides_last,
    refuse_words,
    take_presentation,
)
from harness.commands.hydra_private import Arguments, parse, run_application
from harness.commands.launchers import Task
from harness.commands.overview import overview
from harness.commands.pass_progress import SweepProgress, measure, patience
from harness.commands.result_store import ResultStore, swept_keys
from harness.commands.run_folder import discard, discarding, existing_folders, temporary_folder
from harness.commands.show import show_runs
from harness.commands.stored import INTERNAL_ERROR, LOG_FILE
from harness.commands.sweep_plan import SweepPlan
from harness.commands.sweeper import checked_sweeper
from harness.config import compose as configuration
from harness.config.credentials import refuse_credentials
from harness.config.ignored import unused_presets, without_effect
from harness.device.interrupt import exit_code
from harness.errors import HarnessError, RequestError
from harness.execution.experiment import Experiment
from harness.kernel.folders import looking_in, own_preset_folders
from harness.results.record import FILE_NAME, Record, record_of
from harness.results.sweep_runs import SweepRuns
from harness.tracking.store import backend_of

HELP = "run tiles or an encoder with a strategy (the default command)"
INTERRUPTION = "interruption"
"""Subject of the messages about Ctrl-C, of which the first is printed."""
log = logging.getLogger("harness")


@dataclass
class Invocation:
    """One invocation of the command: its arguments, its runs, and their exit codes.

    arguments: without the flags in `presentation`. here: the current folder at the start.
    started: whether Hydra has called the first job. kept: folders that existed before.
    """

    arguments: Sequence[str]
    presentation: terminal.Presentation = field(default_factory=terminal.Presentation)
    here: Path = field(default_factory=Path.cwd)
    started: bool = False
    sweep: SweepPlan | None = None
    progress: SweepProgress | None = None
    exit_codes: set[int] = field(default_factory=lambda: {0})
    kept: set[Path] = field(default_factory=set)
    runs: SweepRuns = field(init=False)
    messages: terminal.Messages = field(init=False)
    results: ResultStore = field(init=False)

    def __post_init__(self) -> None:
        self.messages = terminal.Messages(self.presentation.quiet)
        self.runs = SweepRuns(self.fail)
        self.results = ResultStore(self.here, self.fail, self.remark)

    def execute(self) -> int:
        """Run Hydra's application on the arguments; returns the exit code."""
        interrupted = False
        try:
            with looking_in(config_dir(self.arguments)):
                self._run_hydra()
        except KeyboardInterrupt:
            interrupted = True
            self.results.pictures.cancel()
            self.messages.say("interrupted", INTERRUPTION)
        if self.sweep:
            if self.progress:
                self.progress.close()
            self._end_sweep(self.sweep)
            if interrupted and (line := self.sweep.left_line(self.runs.right)):
                self.remark(line)
        self.results.pictures.end()
        if interrupted:
            return exit_code()
        refused_job = bool(self.runs) and 2 in self.exit_codes
        return 1 if refused_job or 1 in self.exit_codes else max(self.exit_codes)

    def _run_hydra(self) -> None:
        try:
            arguments, parsed = self._parsed()
            if parsed.prints:
                with terminal.output("output", others=(HydraException,)):
                    self._apply(arguments)
            else:
                self._run_jobs(arguments)
        except (HarnessError, *configuration.OF_COMPOSING) as error:
            if self.started or isinstance(error, terminal.OutputError):
                raise
            self._refuse(error)

    def _parsed(self) -> tuple[list[str], Arguments]:
        """The arguments in the order that Hydra needs; RequestError for wrong ones."""
        # Before any message that repeats an argument, and before Hydra writes them to a file.
        refuse_credentials(self.arguments)
        arguments = overrides_last(self.arguments)
        if both := both_accountings(arguments):
            arguments.append(both)
            self.messages.remark(
                f"every phase runs with both accountings ({both}); give one to run fewer"
            )
        parsed = parse(arguments, terminal.PRESENTATION_FLAGS)
        refuse_words(parsed.words, command_line.find)
        configuration.check_overrides(parsed.words)
        return arguments, parsed

    def _apply(self, arguments: Sequence[str]) -> None:
        configuration.register()
        known = configuration.compositions()
        with self._sweeper():
            run_application(Task(self), arguments, configuration.conf_dir(), known)

    def _sweeper(self) -> AbstractContextManager[None]:
        """In this context, Hydra uses the sweeper of this command."""
        return checked_sweeper(self.begin_sweep)

    def _run_jobs(self, arguments: Sequence[str]) -> None:
        self.kept = existing_folders(arguments)
        try:
            self._apply(arguments)
        except OSError as error:
            if isinstance(error, HydraException):  # a preset that does not exist
                raise
            if not self.started:
                check_readable(error, configuration.conf_dir(), *own_preset_folders())
                self._run_elsewhere(arguments, error)
            else:
                self._end(error)

    def _end(self, error: OSError) -> None:
        self.fail(f"the {'sweep' if self.sweep else 'run'} ends here ({error})")

    def _run_elsewhere(self, arguments: Sequence[str], error: OSError) -> None:
        """Run, and store the records in a temporary folder, because theirs cannot be created."""
        folder = temporary_folder()
        reason = f"the folder of the results cannot be created ({error})"
        self.messages.hold(f"{reason}; they go to {folder}")
        moved = (f"hydra.run.dir={folder}", f"hydra.sweep.dir={folder}")
        try:
            self._apply([*arguments, *moved, "hydra.output_subdir=null"])
        except OSError as again:
            if self.started:
                self._end(again)
            else:
                self.fail(f"{folder}: cannot be written either ({again}); free space")
        finally:
            self.messages.release()

    def _refuse(self, error: Exception) -> None:
        """Report why nothing runs; with `-v`, the traceback too."""
        if self.presentation.verbose:
            traceback.print_exception(error)
        self.messages.say(explained(error, self.arguments))
        self.exit_codes.add(error.exit_code if isinstance(error, HarnessError) else 2)

    def begin_sweep(self, plan: SweepPlan) -> None:
        """All jobs of a sweep passed their checks: open the MLflow run that is their parent."""
        plan.begin()
        self.sweep = plan
        for line in plan.remarks:
            self.remark(line)
        gc.freeze()  # the jobs' configurations live until they run: collections may skip them
        if plan.left:
            if not plan.is_timed and not plan.elsewhere:
                self.results.pictures.prepare()
            self.results.begin_sweep(plan.config, plan.folder, plan.overrides, plan.swept)
            self.progress = SweepProgress(plan.left, hidden=self.presentation.quiet)
            if plan.elsewhere:
                self.progress.watch(plan.ended)
        self.messages.release()  # now, because a sweep may take long

    def job(self, cfg: DictConfig) -> None:
        """One run, as Hydra calls it."""
        self.started = True
        folder = Path(HydraConfig.get().runtime.output_dir)
        if (folder / FILE_NAME).exists():
            text = f"{folder / FILE_NAME}: already exists; choose another hydra.run.dir"
            self._refuse(RequestError(text))
            return
        try:
            self._job(cfg, folder)
        except RequestError as error:
            discard(folder, self.kept)
            self._refuse(error)
        except Exception as error:
            log.debug(INTERNAL_ERROR, exc_info=True)
            self.fail(
                f"internal error: {type(error).__name__}: {error}; "
                f"the traceback is in {folder / LOG_FILE}"
            )

    def _job(self, cfg: DictConfig, folder: Path) -> None:
        hydra_config = HydraConfig.get()
        config = configuration.build(cfg)
        preset, overrides = configuration.requested(hydra_config)
        if ignored := configuration.ignored_depth(cfg, preset, overrides):
            self.messages.remark(ignored, "ignored depth")
        resolved = configuration.resolved(cfg)
        backend_of(config.tracking)  # an unknown one is refused before anything runs
        waits = patience(config.workload.kernels, self.messages.remark)
        with waits, discarding(folder, self.kept):
            experiment = Experiment(config)
        remarks = [*experiment.remarks, *without_effect(experiment.config, overrides)]
        for remark in (*remarks, *unused_presets(hydra_config.runtime.choices)):
            self.messages.remark(remark)
        line = closing.interrupted_line(config.tracking, self.results.tracks(config))
        announce = partial(self.messages.say, line, INTERRUPTION)
        outcome = measure(config, experiment, self.presentation, announce, self.progress)
        record = record_of(outcome, resolved, preset, overrides, swept_keys())
        self.runs.append((record, folder))
        self.exit_codes.add(0 if record.ok else 1)
        log.info("%s: %s %s", record.name, record.verdict.value, record.reason)
        interrupted = outcome.interrupted
        try:
            page = self.results.store(config, record, outcome, folder)
        except KeyboardInterrupt:  # the table still names the folder of the record
            page, interrupted = None, True
        if hydra_config.mode is not RunMode.MULTIRUN:
            link = closing.tracking_line(config.tracking, record.name, page, self.here)
            self._show([(record, folder)], closing.run_line(folder), link)
        if interrupted:
            raise KeyboardInterrupt

    def fail(self, line: str) -> None:
        """Print a message once, and end with exit code 1."""
        self.messages.say(line)
        self.exit_codes.add(1)

    def remark(self, line: str) -> None:
        """Print a message that is not an error, once."""
        self.messages.remark(line)

    def _end_sweep(self, plan: SweepPlan) -> None:
        """Close the sweep's MLflow run, and print one table of all runs."""
        runs = plan.rows(self.runs)
        self.exit_codes.update(int(not record.ok) for record, _ in runs)
        if lost := plan.lost(runs):
            self.fail(f"{lost} of {len(plan.requests)} jobs have no record")
        lines = []
        if plan.left:
            lines = self.results.sweep_lines(plan, runs)
        elif self.presentation.for_readers:  # opening a store takes seconds
            lines = self.results.earlier_lines(plan.config, [folder for _, folder in runs])
        if runs:
            self._show(runs, *lines)

    def _show(self, runs: Sequence[tuple[Record, Path]], *lines: str) -> None:
        """Print the table after everything is stored: a closed or full stdout loses no run."""
        try:
            show_runs(runs, self.presentation, *filter(None, lines))
        except terminal.OutputError as error:
            self.fail(str(error))


def main(arguments: Sequence[str]) -> int:
    """Run what the arguments ask for, Hydra's flags included; returns the exit code."""
    if "--version" in arguments:
        with terminal.output("version"):
            print(command_line.version())
        return 0
    check_config_dir(config_dir(arguments))
    if {"--help", "-h"} & set(arguments):
        commands = {name: each.HELP for name, each in command_line.all_commands().items()}
        with terminal.output("help"), looking_in(config_dir(arguments)):
            print(overview(commands))
        return 0
    rest, presentation = take_presentation(arguments)
    if rest and is_word(rest[0]) and not is_key(rest[0]):
        if command_line.find(rest[0]):
            raise RequestError(f"run {rest[0]}: two commands; give one")
        raise command_line.no_command(rest[0])
    return Invocation(rest, presentation).execute()
