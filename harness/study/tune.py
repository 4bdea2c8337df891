"""A search for the best setting of a space, kept by Optuna so that it can go on later.

Where the costs of the device are known, the setting with the best bound is next, and settings whose
bound is no better than the best time are excluded. Elsewhere Optuna's TPE sampler proposes. In
spaces of 256 settings of five kernels and chains on the simulator, the first way had run the best
setting after 1 to 14 runs, TPE after 4 to 46 (8 seeds), and a random order after 1 to 112 (50).
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import RequestError, with_extra
from harness.measure.metric import Better
from harness.measure.metrics import METRICS
from harness.study.space import Candidate, Value, key_of

if TYPE_CHECKING:
    from optuna import Study
    from optuna import Trial as OptunaTrial
    from optuna.distributions import BaseDistribution

JOURNAL = "optuna.journal"
"""File of the studies in their folder."""
OF_TIME = {
    "time/total_ms",
    "time/tile_ms",
    "throughput/tiles_per_s",
    "throughput/gops",
    "throughput/peak_pct",
    "rtf/encoder",
    "rtf/end_to_end",
}
"""Objectives that are better exactly if the pass is shorter."""
RUN, VERDICT, MAKESPAN_NS = "run", "verdict", "makespan_ns"
"""Attributes of a trial: folder of the run, its verdict, the time of its pass."""


@dataclass(frozen=True)
class Objective:
    """The metric to optimise; of_time: whether a bound of a pass's time also bounds the metric."""

    name: str
    maximise: bool
    of_time: bool

    def badness(self, value: float) -> float:
        """A number that is smaller for a better value."""
        return -value if self.maximise else value


def objective_of(name: str, overlapping: bool = False) -> Objective:
    """The metric of that name as an objective; RequestError for one that cannot be optimised.

    overlapping: whether preprocessing overlaps with the encoder (`workload.overlap_host`).
    """
    metric = METRICS.get(name)
    if metric is None:
        close = get_close_matches(name, METRICS, n=3, cutoff=0.4)
        remedy = f"did you mean {' or '.join(close)}?" if close else "docs/metrics.md lists them"
        raise RequestError(f"objective={name}: no such metric; {remedy}")
    if metric.better is Better.neither:
        raise RequestError(
            f"objective={name}: has no better direction; give another metric, as time/tile_ms"
        )
    if metric.compute is None:
        raise RequestError(
            f"objective={name}: needs a baseline run; give time/tile_ms, which has the same best "
            "setting"
        )
    # The host's part of an overlapped pass counts twice: a longer pass may have the better RTF.
    of_time = name in OF_TIME and not (overlapping and name == "rtf/end_to_end")
    return Objective(name, metric.better is Better.higher, of_time)


@dataclass(frozen=True)
class Trial:
    """A setting that runs next, and Optuna's trial."""

    candidate: Candidate
    handle: OptunaTrial


@dataclass(frozen=True)
class Result:
    """A measured setting. run: folder of its record, relative to that of the
    search. makespan_ns: of the pass that counts."""

    candidate: Candidate
    value: float
    makespan_ns: int
    run: str


@dataclass
class Search:
    """A search that names the next setting and stores each result, in Optuna's own storage.

        search = Search(space, objective_of("time/tile_ms"), Path("outputs/tune/x"), "x", seed=0)
        while trial := search.ask():
            search.tell(trial, Result(trial.candidate, value, makespan_ns, "0"))

    space: as `space.candidates` returns it. folder: of the journal; several processes must not use
    it at a time. name: of the study. again: begin a new study of this name.

    results: measured settings by key, in the order of measurement, earlier ones of the study first.
    failed: settings that failed since the search was opened; they are not tried again by it.
    """

    space: Sequence[Candidate]
    objective: Objective
    folder: Path
    name: str
    seed: int = 0
    again: bool = False
    results: dict[str, Result] = field(default_factory=dict)
    failed: set[str] = field(default_factory=set)
    _study: Study = field(init=False)

    def __post_init__(self) -> None:
        self._study = _open(self.folder / JOURNAL, self.name, self.objective, self.again)
        self._by_key = {each.key: each for each in self.space}
        self._distributions = _distributions(self.space)
        self._load()

    @property
    def best(self) -> Result | None:
        """The best result; of equal ones, the setting that is first in the space."""
        places = {key: place for place, key in enumerate(self._by_key)}
        return min(
            self.results.values(),
            key=lambda each: (self.objective.badness(each.value), places[each.candidate.key]),
            default=None,
        )

    @property
    def excluded(self) -> list[Candidate]:
        """Settings without a result whose bound shows that they are no better than the best."""
        best = self.best
        if best is None or not self.objective.of_time:
            return []
        return [
            each
            for each in self._open_settings()
            if each.bound_ns is not None and each.bound_ns >= best.makespan_ns
        ]

    @property
    def left(self) -> list[Candidate]:
        """Settings that could still be better than the best."""
        excluded = {each.key for each in self.excluded}
        return [each for each in self._open_settings() if each.key not in excluded]

    def ask(self) -> Trial | None:
        """The setting to run next; None if no setting that is left could be better."""
        left = self.left
        if not left:
            return None
        bounds = [each.bound_ns for each in left]
        if self.objective.of_time and None not in bounds:
            candidate = min(left, key=lambda each: each.bound_ns or 0)
        else:
            candidate = self._nearest(left, self._proposal())
        self._study.enqueue_trial(dict(candidate.params))
        own = {key: self._distributions[key] for key in candidate.params}
        return Trial(candidate, self._study.ask(own))

    def tell(self, trial: Trial, result: Result | None, verdict: str = "OK") -> None:
        """Store the result of a trial; None for one that failed, with its verdict."""
        from optuna.trial import TrialState

        trial.handle.set_user_attr(VERDICT, verdict)
        if result:
            trial.handle.set_user_attr(RUN, result.run)
            trial.handle.set_user_attr(MAKESPAN_NS, result.makespan_ns)
        if result:
            self._study.tell(trial.handle, result.value)
            self.results[trial.candidate.key] = result
        else:
            self._study.tell(trial.handle, state=TrialState.FAIL)
            self.failed.add(trial.candidate.key)

    def forget(self, result: Result) -> None:
        """Run a setting again whose record is gone."""
        del self.results[result.candidate.key]

    def _load(self) -> None:
        """Read the results of earlier processes; trials that they did not end have failed."""
        from optuna.trial import TrialState

        while self._study.get_trials(deepcopy=False, states=[TrialState.WAITING]):
            self._study.ask()
        for trial in self._study.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
            self._study.tell(trial.number, state=TrialState.FAIL)
        for trial in self._study.get_trials(deepcopy=False, states=[TrialState.COMPLETE]):
            candidate = self._by_key.get(key_of(trial.params))
            if candidate and trial.value is not None:
                run, makespan_ns = (trial.user_attrs[name] for name in (RUN, MAKESPAN_NS))
                result = Result(candidate, trial.value, makespan_ns, run)
                self.results[candidate.key] = result

    def _open_settings(self) -> list[Candidate]:
        done = {*self.results, *self.failed}
        return [each for each in self.space if each.key not in done]

    def _proposal(self) -> dict[str, Value]:
        """What Optuna's TPE would try next. Earlier interruptions do not change it."""
        import optuna

        # Seeded by the number of results: a search that goes on proposes what it would have.
        text = f"{self.seed} {len(self.results)} {len(self.failed)}"
        seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True, group=True)
        direction = "maximize" if self.objective.maximise else "minimize"
        study = optuna.create_study(sampler=sampler, direction=direction)
        for result in self.results.values():
            params = dict(result.candidate.params)
            own = {key: self._distributions[key] for key in params}
            study.add_trial(
                optuna.trial.create_trial(params=params, distributions=own, value=result.value)
            )
        return study.ask(self._distributions).params

    def _nearest(self, left: Sequence[Candidate], params: Mapping[str, Value]) -> Candidate:
        """The setting that differs least from a proposal."""

        def distance(each: Candidate) -> float:
            return sum(
                self._difference(key, value, params[key]) for key, value in each.params.items()
            )

        return min(left, key=distance)

    def _difference(self, key: str, one: Value, other: Value) -> float:
        from optuna.distributions import IntDistribution

        distribution = self._distributions[key]
        if isinstance(distribution, IntDistribution):
            return abs(int(one) - int(other)) / (distribution.high - distribution.low)
        return float(one != other)


def require_optuna() -> None:
    """RequestError if this Python has no Optuna."""
    try:
        import optuna
    except ModuleNotFoundError as error:
        raise RequestError(
            f"tune: needs Optuna, which this Python lacks; {with_extra('tune')}"
        ) from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)


def _open(path: Path, name: str, objective: Objective, again: bool) -> Study:
    """The newest study of that name; a new one if there is none, or with `again`."""
    require_optuna()
    import optuna
    from optuna.storages.journal import JournalFileBackend

    path.parent.mkdir(parents=True, exist_ok=True)
    backend = JournalFileBackend(str(path))
    storage = optuna.storages.JournalStorage(backend)
    names = [each for each in optuna.get_all_study_names(storage) if each.startswith(f"{name}.")]
    number = len(names) + (again or not names)
    return optuna.create_study(
        storage=storage,
        study_name=f"{name}.{number}",
        direction="maximize" if objective.maximise else "minimize",
        load_if_exists=True,
    )


def _distributions(space: Sequence[Candidate]) -> dict[str, BaseDistribution]:
    """The values of each key in the space, as Optuna takes them."""
    from optuna.distributions import CategoricalDistribution, IntDistribution

    values = dict[str, dict[Value, None]]()
    for each in space:
        for key, value in each.params.items():
            values.setdefault(key, {})[value] = None
    result: dict[str, BaseDistribution] = {}
    for key, known in values.items():
        numbers = [each for each in known if type(each) is int]
        if len(numbers) == len(known) > 1:
            result[key] = IntDistribution(min(numbers), max(numbers))
        else:
            result[key] = CategoricalDistribution(list(known))
    return result
