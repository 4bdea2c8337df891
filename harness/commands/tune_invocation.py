"""Runs a search: measures the settings that it asks for, and prints the best ones."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote

from harness.commands import closing
from harness.commands.pass_progress import SweepProgress
from harness.commands.pictures import of_study
from harness.commands.result_store import sweep_name
from harness.commands.resume import (
    Request,
    Run,
    as_requested,
    earlier_runs,
    paths_by_key,
    save_resumed,
)
from harness.commands.run import Invocation
from harness.commands.sweep_plan import SweepPlan
from harness.commands.tuner import Jobs, TuningJob, TuningStudy, tuning_sweeper
from harness.config.schema import Config, Resume
from harness.errors import HarnessError, RequestError
from harness.measure.audio_accounting import encoder_tiles
from harness.report.tuning import best_lines, space_line
from harness.results.find import next_number, record_files, storing
from harness.results.record import Record
from harness.study.space import Candidate, knob_of, overrides_of
from harness.study.tune import Result, Search, Trial, objective_of

BEST_ROWS = 10
"""Right runs in the table."""
OWN_KEYS = ("tracking", "resume", "hydra")
"""Groups of overrides that the command for the best setting leaves out."""


@dataclass
class TuneInvocation(Invocation):
    """One invocation of the command; implements `tuner.Tuner`.

    objective_name, trials: of the request. requests: by run key, of the settings that were tried.
    found: the records of measured settings by key of the setting; failures: of this process.
    """

    objective_name: str = ""
    trials: int = 0
    requests: dict[str, Request] = field(default_factory=dict)
    found: dict[str, Run] = field(default_factory=dict)
    failures: list[Run] = field(default_factory=list)
    study: TuningStudy | None = None
    search: Search | None = None
    reused: int = 0

    def _sweeper(self) -> AbstractContextManager[None]:
        return tuning_sweeper(self)

    def name(self, config: Config) -> str:
        """Kernels and objective; RequestError if the workload has no value of the objective."""
        objective = objective_of(self.objective_name, config.workload.overlap_host)
        kernels = "+".join(config.workload.kernels)
        is_rtf = objective.name.startswith("rtf/") and config.workload.accounting.value == "guide"
        if is_rtf and encoder_tiles(kernels, 1) is None:
            raise RequestError(
                f"objective={objective.name}: {kernels} encodes no audio; give time/tile_ms, or "
                "another workload"
            )
        model = getattr(config.workload, "model", "")
        return f"{model or kernels}-{objective.name.replace('/', '-')}"

    def run(self, study: TuningStudy, jobs: Jobs) -> None:
        """Run settings until enough are measured or none could be better."""
        config = study.config
        objective = objective_of(self.objective_name, config.workload.overlap_host)
        study.folder.mkdir(parents=True, exist_ok=True)
        with _alone(study.folder):
            resumes = config.resume is Resume.on
            search = Search(
                study.space, objective, study.folder, study.identity, config.seed, not resumes
            )
            self.study, self.search = study, search
            self.sweep = SweepPlan(config, study.folder, ())
            self._load(study, search)
            if search.results:
                self.messages.remark(
                    f"{study.folder}: goes on with {len(search.results)} measured settings; "
                    "resume=off begins anew"
                )
            self.started = True  # from here on, an error is a failure, not a wrong request
            self._measure(study, search, jobs, resumes)

    def _load(self, study: TuningStudy, search: Search) -> None:
        """Read the records of earlier results; a setting whose record is gone runs again."""
        for result in list(search.results.values()):
            folder = Path(os.path.normpath(study.folder / result.run))
            try:
                record = Record.load(folder)
            except HarnessError:
                search.forget(result)
                continue
            self.found[result.candidate.key] = record, folder
            self.requests[record.run_key] = _request(record)

    def _measure(self, study: TuningStudy, search: Search, jobs: Jobs, resumes: bool) -> None:
        paths = [closing.OUTPUTS, study.folder] if resumes else []
        known = paths_by_key(dict.fromkeys(path for each in paths for path in record_files(each)))
        while len(search.results) + len(search.failed) < self.trials:
            trial = search.ask()
            if trial is None:
                break
            try:
                job = jobs.check(trial.candidate)
            except RequestError as error:
                self.fail(f"{' '.join(trial.candidate.overrides)}: {error}")
                search.tell(trial, None, "REFUSED")
                continue
            key = job.request.key
            self.requests[key] = job.request
            run = earlier_runs({key: job.tracking}, known.get(key, ())).ok.get(key)
            if run:
                self.reused += 1
            else:
                run = self._launch(study, search, jobs, job)
            if not self._tell(study, search, trial, run):
                break

    def _launch(self, study: TuningStudy, search: Search, jobs: Jobs, job: TuningJob) -> Run | None:
        """Run a job; returns its record and folder, None if it has none."""
        if self.progress is None:
            left = self.trials - len(search.results) - len(search.failed)
            left = min(left, len(search.left))
            self.results.begin_sweep(study.config, study.folder, (), study.knobs, goes_on=True)
            self.progress = SweepProgress(left, hidden=self.presentation.quiet)
        number = next_number(study.folder)
        jobs.launch(job, number)
        last = self.runs.last
        return last if last and last[0].run_key == job.request.key else None

    def _tell(self, study: TuningStudy, search: Search, trial: Trial, run: Run | None) -> bool:
        """Store the result of a trial; returns whether the search can go on."""
        if run is None:
            search.tell(trial, None, "REFUSED")
            return True
        record, folder = run
        value = record.metrics[self.objective_name]
        if not record.ok or record.totals is None:
            self.failures.append(run)
            search.tell(trial, None, record.verdict.value)
            return True
        if value is None:
            search.tell(trial, None, "no value")
            self.fail(
                f"objective={self.objective_name}: {record.name} has no value of it; give another "
                "metric, as time/tile_ms"
            )
            return False
        self.found[trial.candidate.key] = run
        # Relative, so that a folder of studies can be moved.
        run_folder = os.path.relpath(folder, study.folder)
        makespan_ns = record.totals.makespan_ns
        search.tell(trial, Result(trial.candidate, float(value), makespan_ns, run_folder))
        return True

    def _end_sweep(self, plan: SweepPlan) -> None:
        """Close the MLflow run of the study, and print its best settings."""
        assert self.study is not None
        assert self.search is not None
        search = self.search
        objective = search.objective
        order = sorted(search.results.values(), key=lambda each: objective.badness(each.value))
        best = search.best
        # Of equal values the best is the setting with the least effort, not the first one measured.
        if best:
            order.remove(best)
            order.insert(0, best)
        failed = [*self.failures, *(run for run in self.runs if not run[0].ok)]
        failed = list({folder: (record, folder) for record, folder in failed}.values())
        runs = [self.found[each.candidate.key] for each in order]
        runs = [self._shown(run) for run in [*runs, *failed]]
        self.exit_codes.update({1} if failed else {0})
        right = len(order)
        lines = []
        if best:
            records = [record for record, _ in runs[:right]]
            command = _command(self.study, best.candidate)
            lines += best_lines(records[0], records[1:], objective, command)
        lines.append(self._space(search))
        if self.reused:
            lines.append(f"measured by earlier runs: {self.reused}")
        self._save(plan.folder, runs)
        pictures = of_study(plan.folder, runs)
        if self.progress or not all(each.path.exists() for each in pictures):
            self.results.pictures.begin(pictures)
        page = self.results.end_sweep(plan.config, plan.folder, runs) if self.progress else None
        self.results.pictures.end()
        lines.append(closing.sweep_line(plan.folder, self.results.pictures.drawn))
        name = sweep_name(plan.folder)
        lines.append(closing.tracking_line(plan.config.tracking, name, page, self.here))
        if runs:
            self._show([*runs[: min(right, BEST_ROWS)], *runs[right:]], *lines)

    def _shown(self, run: Run) -> Run:
        """A run under the words of this request."""
        request = self.requests.get(run[0].run_key)
        return as_requested([request], [run])[0] if request else run

    def _space(self, search: Search) -> str:
        return space_line(
            settings=len(search.space),
            measured=len(search.results),
            failed=len(search.failed),
            excluded=len(search.excluded),
            left=len(search.left),
            of_time=search.objective.of_time,
        )

    def _save(self, folder: Path, runs: Sequence[Run]) -> None:
        """Let `harness show` know runs of the study that are in other folders."""
        whole = folder.absolute()
        others = [each for _, each in runs if not each.absolute().is_relative_to(whole)]
        if others:
            requests = [self.requests[record.run_key] for record, _ in runs]
            save_resumed(folder, requests, others)


def _request(record: Record) -> Request:
    return Request(record.run_key, record.preset, record.overrides)


def _command(study: TuningStudy, candidate: Candidate) -> str:
    """The command line that runs a setting, without knobs that have the same value anyway."""
    shared = [
        text
        for text in study.fixed
        if text.lstrip("+~").split("=")[0].split(".")[0] not in OWN_KEYS
    ]
    params = candidate.params
    if "strategy" not in params:
        before, after = study.config.strategy, candidate.config.strategy
        params = {
            key: value
            for key, value in params.items()
            if not (name := knob_of(key)) or getattr(before, name) != getattr(after, name)
        }
    return " ".join(["harness", *map(quote, [*shared, *overrides_of(params)])])


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the lock of a study's folder; HarnessError if another process has it."""
    with storing(folder, wait=False) as free:
        if not free:
            raise HarnessError(f"{folder}: another process tunes here; wait until it ends")
        yield
