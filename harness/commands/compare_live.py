"""Runs several settings in turns, in a random order in each round, and compares them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote
from typing import Any, Protocol, cast

from omegaconf import DictConfig

from harness.commands.closing import AGAIN, files_of_sweep, relative, tracking_line
from harness.commands.compare_files import comparison_pictures, write_comparison
from harness.commands.compare_result import Options, exit_code_of, print_results, with_floor
from harness.commands.hydra_private import plugin
from harness.commands.pass_progress import SweepProgress
from harness.commands.result_store import sweep_name
from harness.commands.run import Invocation
from harness.commands.sweep_plan import SweepPlan
from harness.commands.sweeper import CheckedSweeper, Launcher, swept_keys
from harness.commands.terminal import OutputError
from harness.config.compose import SWEEPER_TARGET, requested
from harness.config.device import ClockKind
from harness.config.schema import Config
from harness.config.sources import key_and_value
from harness.device.interrupt import SIGNALLED
from harness.errors import RequestError
from harness.measure.comparison import Limits
from harness.results.find import next_number
from harness.results.record import Record
from harness.study.comparison import Result, Row, judge, kind_name, refuse_kinds
from harness.study.differences import NOISE_SEED, SEEDS
from harness.study.pair_plan import PairPlan, orders


@dataclass(frozen=True)
class Turns:
    """What is compared. settings: the overrides of each; names: those that several values have.

    config: of the reference. noisy: the simulator draws noise. exact: times do not vary.
    """

    config: Config
    folder: Path
    settings: Sequence[Sequence[str]]
    names: Sequence[str]
    swept: Sequence[str]
    overrides: Sequence[str]
    noisy: bool
    exact: bool

    def job(self, setting: int, number: int) -> list[str]:
        """The overrides of one run: with noise of its own, or all pairs would be one sample."""
        texts = list(self.settings[setting])
        if self.noisy:
            seed = cast(Any, self.config.device).noise.seed + number
            texts.append(f"{NOISE_SEED}={seed}")
        return texts


class Runner(Protocol):
    """Runs settings in turns."""

    def check(self, turns: Turns) -> None:
        """RequestError for what the runner cannot run."""

    def run(self, turns: Turns, launch: Any) -> None:
        """Run all rounds; launch(overrides, number): runs one job."""


class TurnsSweeper(CheckedSweeper):
    """Composes the settings that the overrides name, and lets the runner run them."""

    runner: Runner

    def sweep(self, arguments: list[str]) -> Any:
        """Run all; RequestError or Hydra's error, and nothing written, if a setting is wrong."""
        self._refuse_launcher("compare")
        master = cast(DictConfig, self.config)
        # Read first: composing the jobs evaluates the time in its name again.
        folder = Path(master.hydra.sweep.dir)
        overrides = self._overrides(arguments)
        texts = [job for batch in self.split_arguments(overrides, None) for job in batch]
        swept = swept_keys(overrides)
        if len(texts) < 2:
            raise RequestError(
                "nothing to compare: give several values of a key, the reference first, as in "
                "strategy=baseline,pipelined"
            )
        if seed := next((key for key in SEEDS if key in swept), None):
            raise RequestError(
                f"{seed}: runs that differ only in seeds are repeats of one setting; give one "
                "value, and the number of repeats as pairs=N"
            )
        configs = [self._once.check(master, text)[0] for text in texts]
        refuse_kinds(map(_kind, configs))
        names = [
            " ".join(each for each in text if key_and_value(each)[0] in swept) for text in texts
        ]
        noisy = any(_has_noise(config) for config in configs)
        turns = Turns(
            config=configs[0],
            folder=folder,
            settings=texts,
            names=names,
            swept=swept,
            overrides=requested(master.hydra)[1],
            noisy=noisy,
            exact=not noisy and _clock(configs[0]) is ClockKind.virtual,
        )
        self.runner.check(turns)
        launcher = Launcher(self.launcher, SweepPlan(configs[0], folder, ()))
        self._begin_folder(folder)
        self.runner.run(turns, lambda job, number: launcher.launch([job], number))
        return []


def _clock(config: Config) -> ClockKind | None:
    return getattr(config.device, "clock", None)


def _kind(config: Config) -> str:
    clock = _clock(config)
    return kind_name(config.device.kind, clock.value if clock else None)


def _has_noise(config: Config) -> bool:
    noise = getattr(config.device, "noise", None)
    return noise is not None and noise.enabled


@dataclass
class CompareInvocation(Invocation):
    """One live comparison; implements `Runner`.

    rounds: how often each setting runs. code: the exit code of the verdicts. stored: whether all
    results could be stored. complete: whether all rounds have run.
    """

    rounds: int = 10
    wanted: Options = field(default_factory=lambda: Options(Limits()))
    turns: Turns | None = None
    plan: PairPlan = field(default_factory=lambda: PairPlan([]))
    by_folder: dict[str, Record] = field(default_factory=dict)
    code: int | None = None
    stored: bool = True
    complete: bool = False

    def _sweeper(self) -> AbstractContextManager[None]:
        return turns_sweeper(self)

    def execute(self) -> int:
        """As for a run; the exit code is that of the verdicts, 1 if results are not stored."""
        code = super().execute()
        if code >= SIGNALLED or self.code is None:
            return code
        return self.code if self.stored else 1

    def fail(self, line: str) -> None:
        """Print a message once, and end with exit code 1."""
        self.stored = False
        super().fail(line)

    def check(self, turns: Turns) -> None:
        """Accept all settings."""

    def run(self, turns: Turns, launch: Any) -> None:
        """Run all rounds; a Ctrl-C keeps the pairs that have ended."""
        rounds = self.rounds
        if turns.exact and rounds > 1:
            rounds = 1
            self.remark("virtual time without noise: one pair is exact, so no more run")
        self.turns, self.plan = turns, PairPlan(turns.names)
        self.started = True
        self.sweep = SweepPlan(turns.config, turns.folder, ())
        self.results.begin_sweep(turns.config, turns.folder, turns.overrides, turns.swept)
        self.progress = SweepProgress(rounds * len(turns.settings), hidden=self.presentation.quiet)
        number = next_number(turns.folder)
        for place, order in enumerate(orders(len(turns.settings), rounds, turns.config.seed)):
            for setting in order:
                before = len(self.runs)
                launch(turns.job(setting, number), number)
                number += 1
                if len(self.runs) > before and self.runs.last:
                    self._ended(place, setting, *self.runs.last)
        self.complete = True

    def _ended(self, place: int, setting: int, record: Record, folder: Path) -> None:
        assert self.turns is not None
        self.by_folder[folder.name] = record
        self.plan.ended(place, setting, folder.name)
        try:
            self.plan.save(self.turns.folder)
        except OSError as error:
            self.fail(f"{self.turns.folder}: which runs are pairs cannot be written ({error})")

    def _end_sweep(self, plan: SweepPlan) -> None:
        """Close the MLflow run of the comparison, and print its table."""
        results = self._results()
        lines = list(filter(None, self._finish(results, plan)))
        try:
            print_results(results, self.wanted, self.presentation, lines, live=True)
        except OutputError as error:
            self.fail(str(error))

    def _results(self) -> list[Result]:
        """The comparisons by the pairs that have ended."""
        rows = self.plan.rows(self.by_folder)
        self.wanted = self._with_floor(rows)
        return [judge(row, self.wanted.limits) for row in rows]

    def _with_floor(self, rows: Sequence[Row]) -> Options:
        """The options with the noise floor of this host and device."""
        wanted, doubt = with_floor(self.wanted, rows)
        if doubt:
            self.messages.say(doubt)
        return wanted

    def _finish(self, results: Sequence[Result], plan: SweepPlan) -> list[str]:
        """Decide the exit code and close the MLflow run; returns the last lines of the output."""
        self.code = exit_code_of(results, self.wanted)
        try:
            write_comparison(results, self.wanted, plan.folder)
        except OSError as error:
            self.fail(f"{plan.folder}: the table cannot be written ({error})")
        self.results.pictures.begin(comparison_pictures(results, self.wanted, plan.folder))
        page = self.results.end_sweep(plan.config, plan.folder, [*self.runs])
        self.results.pictures.end()
        files = ", ".join(files_of_sweep(plan.folder, self.results.pictures.drawn))
        name = sweep_name(plan.folder)
        folder = relative(plan.folder, self.here)
        again = f"harness compare --sweep {quote(str(folder))}"
        return [
            f"results: {folder}: {files} ({again} {AGAIN})",
            tracking_line(plan.config.tracking, name, page, self.here),
        ]


@contextmanager
def turns_sweeper(runner: Runner) -> Iterator[None]:
    """Register with Hydra, in this context, a TurnsSweeper for `runner`."""
    bound = type("CheckedSweeper", (TurnsSweeper,), {"runner": runner})
    with plugin(bound, SWEEPER_TARGET):
        yield
