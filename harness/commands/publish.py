"""Store in MLflow the records that are not there yet."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from harness.commands.closing import OUTPUTS
from harness.commands.open_store import open_store, tracking_of
from harness.commands.parser import Parser
from harness.commands.result_store import sweep_name
from harness.commands.resume import Run, as_requested, resumed
from harness.commands.stored import folders_of, unended
from harness.commands.sweep_speedups import sweep_speedups
from harness.commands.terminal import output, say
from harness.errors import HarnessError, RequestError
from harness.measure.stats import Ratio
from harness.results.find import SWEEP_FILE, artifacts, by_sweep, digest_of, run_folders, storing
from harness.results.record import FILE_NAME, Record
from harness.results.shared_parts import SharedParts
from harness.results.speedup import speedups
from harness.tracking.notes import sweep_report
from harness.tracking.store import Entry, Store, SweepRun, TrackingError, backend_of

HELP = "store records in MLflow that are not there yet"
BATCH = 100
"""Records per transaction of a local store."""
PROGRESS_S = 10


@dataclass
class Publication:
    """Stores records in MLflow, each once, sweeps below their parent.

    published, present, busy: numbers of records that are stored now, that were there, and that
    another process is storing. completed: number of sweeps that only lacked their report.
    problems: messages about records that cannot be read. shared: what the records have in common.
    """

    store: Store
    on_batch: Callable[[Publication], None] = lambda publication: None
    published: int = 0
    present: int = 0
    busy: int = 0
    completed: int = 0
    problems: list[str] = field(default_factory=list)
    shared: SharedParts = field(default_factory=SharedParts)

    @property
    def checked(self) -> int:
        """Number of records of which it is known whether the store has them."""
        return self.published + self.present + self.busy

    @property
    def counts(self) -> str:
        """How many records are stored now, and how many were there."""
        return f"{self.published} published, {self.present} already there"

    def add(self, folders: Sequence[Path]) -> None:
        """Publish the records in folders of runs, and complete the parents of sweeps."""
        for sweep, runs in by_sweep(folders).items():
            parent = self.store.sweep_run(sweep.absolute()) if sweep else None
            absent = self._absent(self._digests(runs), parent.run_id if parent else None)
            if not sweep:
                self._add_batches(absent, self._load, None)
            elif absent or (parent and not self._is_complete(sweep, parent)):
                self._add_sweep(sweep, absent, parent)

    def _add_sweep(
        self, sweep: Path, absent: Mapping[str, Path], existing: SweepRun | None
    ) -> None:
        """Publish runs of a sweep, with the speed-ups over the baseline among all of its runs."""
        every = run_folders(sweep)
        records = {folder: record for folder in every if (record := self._load(folder))}
        in_sweep = [(record, folder) for folder, record in records.items()]
        ratios = dict(zip(records, sweep_speedups(in_sweep), strict=True))
        parent = (
            existing.run_id
            if existing
            else self.store.begin_sweep(sweep_name(sweep), sweep.absolute(), _overrides(sweep))
        )
        self._add_batches(absent, records.get, parent, ratios)
        if existing and existing.alive:
            return
        before = {
            str(folder.absolute()): speedup
            for folder, speedup in ratios.items()
            if speedup and folder not in absent.values()
        }
        rows = self._rows(sweep, records)
        shown = [record for record, _ in rows]
        report = sweep_report(sweep, rows, speedups(shown))
        self.store.end_sweep(parent, [record.verdict for record in shown], before, report)
        if unended(sweep):
            self.store.mark_killed(parent)
        self.completed += not absent

    def _is_complete(self, sweep: Path, parent: SweepRun) -> bool:
        """Whether a parent has its report and status; one whose process runs will get them."""
        if parent.alive:
            return True
        if parent.ended:
            return parent.rows is not None
        # Killed: with the jobs that were run, and not all of them were.
        number = len(resumed(sweep)[1]) + len(run_folders(sweep))
        return parent.rows == number and bool(unended(sweep))

    def _rows(self, sweep: Path, records: Mapping[Path, Record]) -> list[Run]:
        """The rows of a sweep's table, as `harness show` prints it; records: those loaded."""
        requests, earlier = resumed(sweep)
        rows = [
            (record, folder)
            for folder in [*earlier, *run_folders(sweep)]
            if (record := records.get(folder) or self._load(folder))
        ]
        return as_requested(requests, rows) if requests else rows

    def _add_batches(
        self,
        absent: Mapping[str, Path],
        load: Callable[[Path], Record | None],
        parent: str | None,
        ratios: Mapping[Path, Ratio | None] | None = None,
    ) -> None:
        for batch in _batches(absent):
            with ExitStack() as locks:
                free = {
                    digest: folder
                    for digest, folder in batch.items()
                    if locks.enter_context(storing(folder, wait=False))
                }
                self.busy += len(batch) - len(free)
                # What was not there may have been stored before its folder was locked.
                entries = [
                    Entry(record, folder, digest, artifacts(folder), (ratios or {}).get(folder))
                    for digest, folder in self._absent(free, parent).items()
                    if (record := load(folder))
                ]
                self.store.publish(entries, parent)
            self.published += len(entries)
            self.on_batch(self)

    def _digests(self, runs: Sequence[Path]) -> dict[str, Path]:
        """Folders by the digest of their record; one of several copies."""
        digests = {}
        for folder in runs:
            try:
                digests[digest_of(folder)] = folder
            except OSError as error:
                self.problems.append(f"{folder / FILE_NAME}: cannot be read ({error.strerror})")
        return digests

    def _absent(self, digests: Mapping[str, Path], parent: str | None) -> dict[str, Path]:
        """Those that MLflow does not have."""
        folders = {key: str(each.absolute()) for key, each in digests.items()}
        stored = self.store.stored(folders, parent)
        self.present += len(stored)
        return {key: each for key, each in digests.items() if key not in stored}

    def _load(self, folder: Path) -> Record | None:
        try:
            return self.shared(Record.load(folder))
        except HarnessError as error:
            if str(error) not in self.problems:
                self.problems.append(str(error))
            return None


def _batches(folders: Mapping[str, Path]) -> Iterator[dict[str, Path]]:
    items = list(folders.items())
    for start in range(0, len(items), BATCH):
        yield dict(items[start : start + BATCH])


def _overrides(sweep: Path) -> list[str]:
    """The overrides of a sweep as typed; empty if its folder no longer has them."""
    try:
        overrides = OmegaConf.load(sweep / SWEEP_FILE).hydra.overrides.task
    except (OSError, YAMLError, OmegaConfBaseException):
        return []
    return [str(each) for each in overrides]


def _parser() -> Parser:
    parser = Parser(
        "publish",
        description="Store records in MLflow that are not there yet, each once; runs of a sweep "
        "below the run of their sweep. Use it after a failure of MLflow, after tracking=off, or "
        "for records from another machine.",
        epilog="Example: python -m harness publish outputs/2026-01-31 tracking=server",
    )
    parser.add_argument(
        "arguments",
        nargs="*",
        metavar="FOLDER | tracking...=value",
        help="folders of runs and sweeps (outputs), and overrides of tracking",
    )
    return parser


def main(arguments: Sequence[str]) -> int:
    """Publish the records in folders, and print how many."""
    given = _parser().parse_intermixed_args(arguments).arguments
    overrides = [each for each in given if "=" in each and not Path(each).exists()]
    wanted = tracking_of(overrides, "publish reads")
    paths = [Path(each) for each in given if each not in overrides] or [OUTPUTS]
    backend = backend_of(wanted)
    if not backend:
        raise RequestError("tracking=off: there is no store to publish to; use local or server")
    folders = list(dict.fromkeys(folder for path in paths for folder in folders_of(path)))
    last = time.monotonic()

    def progress(so_far: Publication) -> None:
        nonlocal last
        if so_far.checked < len(folders) and time.monotonic() > last + PROGRESS_S:
            last = time.monotonic()
            say(f"{so_far.checked} of {len(folders)} records checked: {so_far.counts}")

    try:
        publication = Publication(open_store(backend, wanted, Path.cwd(), say), progress)
        publication.add(folders)
    except TrackingError as error:
        say(f"{error}; the same command again stores what is left")
        return 1
    for problem in publication.problems:
        say(problem)
    line = publication.counts
    if publication.busy:
        line += f", {publication.busy} being stored by other commands"
    if publication.completed:
        line += f", sweeps completed: {publication.completed}"
    with output("result"):
        print(f"{wanted.uri}: {line}")
    return 1 if publication.problems else 0
