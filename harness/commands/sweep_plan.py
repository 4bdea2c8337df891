"""What a sweep runs: its jobs, without those that repeat another or have run before."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

from harness.commands.closing import OUTPUTS
from harness.commands.resume import (
    Earlier,
    Request,
    Run,
    as_requested,
    earlier_runs,
    resumed_line,
    save_resumed,
)
from harness.commands.stored import save_jobs
from harness.config.schema import Config
from harness.results.find import next_number, record_files, remove_leftovers, run_folders
from harness.results.sweep_runs import SweepRuns


@dataclass(frozen=True)
class Job:
    """One job of a sweep. earlier: its run that need not be repeated.

    tracking: the resolved group. repeats: equal to a job before it. resumes: an earlier run takes
    its place. earlier: the folder of that run. is_equal: a job before it has the same overrides.
    is_timed: it measures real time.
    """

    request: Request
    tracking: Mapping[str, Any]
    repeats: bool
    resumes: bool
    earlier: Path | None = None
    is_equal: bool = False
    is_timed: bool = True

    @property
    def runs(self) -> bool:
        """Whether the job runs."""
        return not self.repeats and self.earlier is None


@dataclass(frozen=True)
class SweepPlan:
    """The jobs of a sweep in order; repeated ones too.

    config: of the first job. folder: of the sweep. first_number: number of the first job that runs.
    resumed: which jobs have run before; empty if none has. before: runs already in the folder.
    overrides: of the sweep, as typed. swept: keys that have several values.
    elsewhere: the jobs run in other processes.
    """

    config: Config
    folder: Path
    jobs: tuple[Job, ...]
    first_number: int = 0
    resumed: str = ""
    before: frozenset[Path] = frozenset()
    overrides: tuple[str, ...] = ()
    swept: tuple[str, ...] = ()
    elsewhere: bool = False

    @property
    def left(self) -> int:
        """Number of jobs that run."""
        return sum(job.runs for job in self.jobs)

    @property
    def is_timed(self) -> bool:
        """Whether a job that runs here measures real time, which other work would disturb."""
        return any(job.is_timed for job in self.jobs if job.runs)

    @property
    def remarks(self) -> list[str]:
        """Which jobs do not run, and why; empty if all do."""
        repeated = sum(job.repeats for job in self.jobs)
        equal = sum(job.is_equal for job in self.jobs)
        reasons = {
            "with equal overrides": equal,
            "with another depth, which the strategy ignores": repeated - equal,
        }
        parts = [f"{count} {reason}" for reason, count in reasons.items() if count]
        line = f"{repeated} of {len(self.jobs)} jobs are skipped as repetitions: {', '.join(parts)}"
        return [*([line] if repeated else []), *filter(None, [self.resumed])]

    @property
    def requests(self) -> list[Request]:
        """What the jobs ask for, without repeated ones."""
        return [job.request for job in self.jobs if not job.repeats]

    @property
    def earlier(self) -> list[Path]:
        """The folders of earlier runs that take the place of jobs."""
        return [job.earlier for job in self.jobs if job.earlier and not job.repeats]

    def begin(self) -> None:
        """Store in the folder the jobs, and which earlier runs belong to the sweep.

        Removes files of jobs that were killed before their record.
        OSError if the folder cannot be created, or the earlier runs cannot be stored.
        """
        if self.left:
            if any(job.resumes for job in self.jobs):
                for each in {OUTPUTS.absolute(), self.folder.absolute()}:
                    remove_leftovers(each)
            self.folder.mkdir(parents=True, exist_ok=True)
            jobs = [job.request.overrides for job in self.jobs if job.runs]
            save_jobs(self.folder, jobs, self.first_number)
        if self.earlier and self.left:
            save_resumed(self.folder, self.requests, self.earlier)

    def ended(self) -> int:
        """Number of jobs that have a record. OSError if the folder cannot be read."""
        return sum(path.parent not in self.before for path in record_files(self.folder))

    def lost(self, rows: Sequence[Run]) -> int:
        """Number of jobs of a launcher in other processes that ended without a record."""
        return max(0, len(self.requests) - len(rows)) if self.elsewhere else 0

    def left_line(self, right: int) -> str:
        """How many jobs an interrupted sweep leaves; empty if none, or if others have run them.

        right: number of jobs of this process with verdict OK.
        """
        done = len(self.earlier) + right
        left = 0 if self.elsewhere else len(self.requests) - done
        total = len(self.requests)
        return f"{left} of {total} jobs are left; the same command runs them" if left > 0 else ""

    def rows(self, runs: SweepRuns) -> list[Run]:
        """The runs of all jobs in order; runs: those of this process."""
        own: Iterable[Run] = runs
        if not runs:
            # Jobs of a launcher that starts processes of its own are known by their records only.
            new = (each for each in run_folders(self.folder) if each not in self.before)
            own = runs.read(new)
        return as_requested(self.requests, chain(own, runs.read(self.earlier)))


def plan_of(config: Config, folder: Path, jobs: Sequence[Job]) -> SweepPlan:
    """The plan of a sweep, after a look at the records below outputs/ and in its folder."""
    wanted = {job.request.key: job.tracking for job in jobs if job.resumes and not job.repeats}
    inside = list(record_files(folder))
    before = frozenset(path.parent for path in inside)
    if not wanted:
        return SweepPlan(config, folder, tuple(jobs), before=before)
    outside = [] if folder.absolute() == OUTPUTS.absolute() else list(record_files(OUTPUTS))
    paths = dict.fromkeys([*outside, *inside])
    earlier = earlier_runs(wanted, paths)
    folders = {key: place for key, (_, place) in earlier.ok.items()}
    planned = [replace(job, earlier=folders.get(job.request.key)) for job in jobs]
    return SweepPlan(
        config,
        folder,
        tuple(planned),
        _first_number(folder, earlier),
        resumed_line(earlier, len(jobs)),
        before,
    )


def _first_number(folder: Path, earlier: Earlier) -> int:
    """The number of the first job: a sweep that goes on in its own folder continues counting."""
    goes_on = any(each.parent == folder and each.name.isdigit() for each in earlier.folders)
    return next_number(folder) if goes_on else 0
