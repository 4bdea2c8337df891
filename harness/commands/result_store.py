"""Store what a run leaves behind: trace, then the record, which commits it; picture; MLflow."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from harness.commands.closing import (
    earlier_line,
    publish_command,
    relative,
    sweep_line,
    tracking_line,
)
from harness.commands.open_store import open_store
from harness.commands.pictures import Pictures, of_run, of_sweep
from harness.commands.sweep_failure import forget_failure, note_failure, noted_failure
from harness.commands.sweep_plan import SweepPlan
from harness.config.schema import Config, Tracking, TrackingKind
from harness.execution.outcome import Outcome
from harness.report.trace import save_trace
from harness.results.find import artifacts, digest_of, storing, sweep_of
from harness.results.record import Record
from harness.results.speedup import speedups
from harness.tracking.notes import sweep_report
from harness.tracking.store import (
    PARENT_VARIABLE,
    SWEPT_VARIABLE,
    Store,
    TrackingError,
    backend_of,
)

NO_RUN = (
    "the record is stored, but not in MLflow ({publish} stores it there later; tracking=off leaves "
    "MLflow out)"
)
NO_REPORT = (
    "the runs are in MLflow, but not the report of their sweep ({publish} stores it there later)"
)
PART = "the records are stored ({publish} stores in MLflow what it lacks)"
log = logging.getLogger("harness")


def sweep_name(folder: Path) -> str:
    """Name of the MLflow run of a sweep."""
    return f"sweep {folder.name}"


def swept_keys() -> list[str]:
    """Keys that have several values in the sweep that this process or its parent runs."""
    return os.environ.get(SWEPT_VARIABLE, "").split()


class ResultStore:
    """Stores the results of one invocation. A failure is reported, and loses no other result.

    here: the folder that relative paths of the MLflow store start at. fail: prints a message and
    changes the exit code. remark: prints a message that is no failure. After a failure of MLflow,
    MLflow is not used again, nor by other processes that run jobs of the same sweep; the process
    of the sweep reports their failures.

        results = ResultStore(Path.cwd(), fail=print, remark=print)
        results.begin_sweep(config, Path("outputs/sweep"), ["depth=1,2"], ["depth"])
        results.store(config, record, outcome, Path("outputs/sweep/0"))
        results.end_sweep(config, Path("outputs/sweep"), [(record, Path("outputs/sweep/0"))])
    """

    def __init__(
        self, here: Path, fail: Callable[[str], None], remark: Callable[[str], None]
    ) -> None:
        self._here = here
        self._fail, self._remark = fail, remark
        self._untracked = False
        self._sweep: Path | None = None
        # By settings. Opening a store of MLflow also searches it for killed runs, so do it once.
        self._stores: dict[Tracking, Store] = {}
        self.pictures = Pictures(remark)

    def tracks(self, config: Config) -> bool:
        """Whether runs are stored by the tracking backend: one is named, and none failed."""
        return not self._untracked and config.tracking.kind is not TrackingKind.off

    def store(self, config: Config, record: Record, outcome: Outcome, folder: Path) -> str | None:
        """Store one run; returns its page, as `Store.run_page`, or None if that fails.

        The picture of a single run is complete, too.
        """
        page = None
        with self._written(folder, "record"), storing(folder):
            # The record appears last: a run that has one has its trace too.
            with record.saved_last(folder), self._written(folder, "trace"):
                if outcome.timeline:
                    save_trace(outcome.timeline, record.name, folder)
            # Those of a sweep's jobs follow at its end.
            draws = SWEPT_VARIABLE not in os.environ and not outcome.interrupted
            if draws:
                self.pictures.begin(of_run(folder))
            if (sweep := self._sweep_elsewhere(folder)) and noted_failure(sweep):
                self._untracked = True
            with self._tracked(folder, config.tracking, NO_RUN):
                if store := self._open(config):
                    # MLflow is imported by now: what is drawn beside that is complete.
                    if draws:
                        self.pictures.end()
                    parent = os.environ.get(PARENT_VARIABLE)
                    page = store.run_page(store.log(record, folder, artifacts(folder), parent))
            if draws:
                self.pictures.end()
        return page

    def begin_sweep(
        self,
        config: Config,
        folder: Path,
        overrides: Sequence[str],
        swept: Sequence[str],
        *,
        goes_on: bool = False,
    ) -> None:
        """Open the MLflow run that is the parent of all runs of a sweep.

        overrides: as typed. swept: keys that have several values. goes_on: use that of an earlier
        process with this folder, if there is one.
        """
        self._sweep = folder
        forget_failure(folder)  # of a sweep that was killed
        os.environ[SWEPT_VARIABLE] = " ".join(swept)
        with self._tracked(folder, config.tracking, NO_RUN):
            if store := self._open(config):
                earlier = store.sweep_run(folder.absolute()) if goes_on else None
                if earlier:
                    parent = earlier.run_id
                    store.continue_sweep(parent)
                else:
                    parent = store.begin_sweep(sweep_name(folder), folder.absolute(), overrides)
                # A launcher's processes inherit it.
                os.environ[PARENT_VARIABLE] = parent

    def end_sweep(
        self,
        config: Config,
        folder: Path,
        runs: Sequence[tuple[Record, Path]],
        *,
        elsewhere: bool = False,
    ) -> str | None:
        """Close the run of a sweep; returns its page, as `Store.sweep_page`, or None.

        Without effect if no sweep began. elsewhere: its jobs ran in other processes, whose failures
        are reported here.
        """
        if not self._sweep:
            return None
        # Removed, or a later run in this process would be stored below this sweep.
        os.environ.pop(SWEPT_VARIABLE, None)
        parent = os.environ.pop(PARENT_VARIABLE, None)
        try:
            return self._close_sweep(config, folder, runs, parent, elsewhere)
        finally:
            forget_failure(folder)

    def _close_sweep(
        self,
        config: Config,
        folder: Path,
        runs: Sequence[tuple[Record, Path]],
        parent: str | None,
        elsewhere: bool,
    ) -> str | None:
        records = [record for record, _ in runs]
        with self._tracked(folder, config.tracking, PART if elsewhere else NO_REPORT):
            if not self._untracked and (failure := noted_failure(folder)):
                raise TrackingError(failure)
            if parent and (store := self._open(config)):
                if elsewhere:
                    self._check_stored(store, folder, runs, parent, config.tracking)
                ratios = speedups(records)
                by_folder = {
                    str(path.absolute()): speedup
                    for (_, path), speedup in zip(runs, ratios, strict=True)
                    if speedup
                }
                timelines = [path for path in self.pictures.end() if path.parent != folder]
                if timelines:
                    store.attach({digest_of(path.parent): [path] for path in timelines})
                report = sweep_report(folder, runs, ratios)
                store.end_sweep(parent, [record.verdict for record in records], by_folder, report)
                return store.sweep_page(parent)
        return None

    def sweep_lines(self, plan: SweepPlan, runs: Sequence[tuple[Record, Path]]) -> list[str]:
        """Draw a sweep and close its run; returns the lines that end its output."""
        self.pictures.begin(of_sweep(plan.folder, runs))
        page = self.end_sweep(plan.config, plan.folder, runs, elsewhere=plan.elsewhere)
        self.pictures.end()
        link = tracking_line(plan.config.tracking, sweep_name(plan.folder), page, self._here)
        return [sweep_line(plan.folder, self.pictures.drawn), link]

    def earlier_lines(self, config: Config, folders: Sequence[Path]) -> list[str]:
        """The lines that end the output if no job of a sweep had to run.

        folders: of the earlier runs. The page is that of their sweep, or else of all runs; it is
        left out where the store fails.
        """
        sweeps = {sweep_of(each) for each in folders}
        sweep = sweeps.pop() if len(sweeps) == 1 else None
        page = ""
        with suppress(TrackingError):
            if store := self._open(config):
                run = store.sweep_run(sweep.absolute()) if sweep else None
                page = store.sweep_page(run.run_id) if run else store.home_page()
        link = tracking_line(config.tracking, "", page or None, self._here)
        return [earlier_line(folders), link]

    def _open(self, config: Config) -> Store | None:
        tracking = config.tracking
        backend = None if self._untracked else backend_of(tracking)
        if backend and tracking not in self._stores:
            self._stores[tracking] = open_store(backend, tracking, self._here, self._remark)
        return self._stores[tracking] if backend else None

    @contextmanager
    def _written(self, folder: Path, what: str) -> Iterator[None]:
        """Report a file that cannot be written."""
        try:
            yield
        except OSError as error:
            log.debug("cannot write", exc_info=True)
            self._fail(
                f"{folder}: the {what} cannot be written ({error}); "
                "free space or choose another hydra.run.dir"
            )

    @contextmanager
    def _tracked(self, folder: Path, tracking: Tracking, what: str) -> Iterator[None]:
        """Report a failure of MLflow; after a Ctrl-C, MLflow is not used again either.

        folder: of the run or the sweep that MLflow then lacks. what: the state after the failure,
        with {publish} for the command.
        """
        try:
            yield
        except KeyboardInterrupt:
            self._untracked = True
            raise
        except TrackingError as error:
            log.debug("tracking failed", exc_info=True)
            self._untracked = True
            elsewhere = self._sweep_elsewhere(folder)
            if (
                (sweep := elsewhere or self._sweep)
                and note_failure(sweep, str(error))
                and elsewhere
            ):
                return
            publish = publish_command(relative(self._sweep or folder, self._here), tracking)
            self._fail(f"{error}; {what.format(publish=publish)}")

    def _sweep_elsewhere(self, folder: Path) -> Path | None:
        """The sweep of a run, if this process only runs jobs of it for a launcher."""
        return sweep_of(folder) if not self._sweep and SWEPT_VARIABLE in os.environ else None

    def _check_stored(
        self,
        store: Store,
        sweep: Path,
        runs: Sequence[tuple[Record, Path]],
        parent: str,
        tracking: Tracking,
    ) -> None:
        """Report runs of other processes that MLflow lacks, for whatever reason."""
        own = [path for _, path in runs if path.is_relative_to(sweep)]
        folders = {digest_of(path): str(path.absolute()) for path in own}
        if absent := len(folders) - len(store.stored(folders, parent)):
            publish = publish_command(relative(sweep, self._here), tracking)
            self._fail(
                f"{absent} of {len(folders)} records are not in MLflow; {publish} stores them there"
            )
