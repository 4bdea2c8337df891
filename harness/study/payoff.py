"""How far more depth, a larger batch or more columns would pay off for a run that has ended.

payoffs = payoffs_of(Record.load(folder))
for each in payoffs:
    print(each.knob, dict(zip(each.values, each.total_ns)), each.enough, each.basis)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import cache
from math import ceil
from typing import Any

from harness.config.device import Cpu
from harness.config.schema import Config
from harness.config.stored import config_of
from harness.config.strategy import Strategy
from harness.errors import RequestError
from harness.execution.predict import experiment_model
from harness.execution.prepare import deal_columns, make_plan
from harness.measure.model import pass_times
from harness.measure.pass_bound import pass_bound_ns
from harness.measure.pass_model import PassModel, Station
from harness.measure.totals import Totals
from harness.results.record import Record
from harness.results.run_key import are_unchanged

KNOBS = ("depth", "batch", "columns")
"""Knobs of the strategy that have a curve."""
MOST = 16
"""Largest depth and batch of a curve; the run's own value is in it too, if it is larger."""
GAIN = 0.01
"""A larger value of a knob pays off if it shortens the pass by this share or more."""
AGREEMENT = 0.05
"""A model with a run's own stage times is used if it gives the time of that run to this share."""


@dataclass(frozen=True)
class Payoff:
    """The time of a pass by the value of one knob, with all other knobs as in the run.

    knob: one of KNOBS. values: ascending. total_ns, bound_ns: of each value, the time of the pass
    and the shortest time with the same stage times, in nanoseconds. own: the run's value. enough:
    the smallest value of which no larger one shortens the pass by GAIN or more. by_stages: the
    stage times are those that the run measured, not those of a simulator's profile.
    """

    knob: str
    values: tuple[int, ...]
    total_ns: tuple[int, ...]
    bound_ns: tuple[int, ...]
    own: int
    enough: int
    by_stages: bool = False

    @property
    def basis(self) -> str:
        """What the times come from, in words."""
        return "by the model with this run's stage times" if self.by_stages else "by the model"

    def saved(self, value: int) -> float:
        """Share of the run's time that another value saves; negative if it takes longer."""
        times = dict(zip(self.values, self.total_ns, strict=True))
        return 1 - times[value] / times[self.own] if times[self.own] else 0.0


def payoffs_of(record: Record) -> tuple[Payoff, ...]:
    """The curves of a run, in the order of KNOBS; empty if the model does not cover it.

    Use it on demand: each takes milliseconds. A simulator's profile gives all three. Other devices,
    noise and real time have no profile, so the run's measured stage times take its place. They say
    nothing about larger batches, nor about more threads on a processor, so those curves are left
    out. Chains and encoder windows have none then, because the times of their kernels are not in
    the totals; nor has a run whose time its own stage times do not give (AGREEMENT).
    """
    variants = variants_of(record)
    return tuple(variants.payoff(knob) for knob in variants.limits) if variants else ()


Times = tuple[int, int]
"""Time of a pass and its bound, in nanoseconds."""


@dataclass(frozen=True)
class Variants:
    """A run with other values of its knobs, one at a time.

    own: its knobs. limits: largest value by knob; knobs of which a pass can use several values.
    times_of: the times of a pass with other knobs; None where it could not run.
    """

    own: Strategy
    limits: dict[str, int]
    times_of: Callable[[Strategy], Times | None]
    by_stages: bool

    def times(self, knob: str, value: int) -> Times | None:
        """The times of a pass with another value of a knob; None where it could not run."""
        changes: dict[str, Any] = {knob: value}
        return self.times_of(replace(self.own, **changes))

    def best(self, knob: str) -> tuple[int, float]:
        """A value of a knob, and the share of the run's time that it saves; with few models.

        The smallest value that takes at most GAIN longer than any other. It is `Payoff.enough` if
        more depth takes no longer; of the batches, only powers of two are compared.
        """
        limit, own = self.limits[knob], getattr(self.own, knob)
        values = sorted({own, *range(1, limit + 1)})
        if knob == "batch":
            values = [each for each in values if each == own or each & (each - 1) == 0]
        first = (values[-1], own) if knob == "depth" else values
        least_ns = min(times[0] for value in first if (times := self.times(knob, value)))
        own_ns, _ = self.times(knob, own) or (least_ns, 0)
        for value in values:
            times = self.times(knob, value)
            if times and (least_ns > (1 - GAIN) * times[0] or least_ns == times[0]):
                return value, 1 - times[0] / own_ns if own_ns else 0.0
        return own, 0.0

    def payoff(self, knob: str) -> Payoff:
        """The curve of one of `limits`."""
        own: int = getattr(self.own, knob)
        points = {
            value: times
            for value in sorted({*range(1, self.limits[knob] + 1), own})
            if (times := self.times(knob, value))
        }
        totals_ns, bounds_ns = zip(*points.values(), strict=True)
        least_ns = [min(totals_ns[place:]) for place in range(len(totals_ns))]
        enough = next(
            value
            for value, total_ns, least in zip(points, totals_ns, least_ns, strict=True)
            if least > (1 - GAIN) * total_ns or least == total_ns
        )
        return Payoff(knob, tuple(points), totals_ns, bounds_ns, own, enough, self.by_stages)


def variants_of(record: Record) -> Variants | None:
    """The run of a record with other values of its knobs; None if the model does not cover it."""
    if not record.ok or record.totals is None or not record.totals.makespan_ns:
        return None
    try:
        config = config_of(record.config, record.knobs)
        # The times of a profile are those of the kernels of now.
        current = are_unchanged(config.workload.kernels, record.kernel_hashes)
        return (_by_profile(config) if current else None) or _by_stages(config, record.totals)
    except RequestError:
        # A record of an earlier version, or of a kernel that no longer exists.
        return None


def _by_profile(config: Config) -> Variants | None:
    """None if the times of the run do not follow from a profile."""
    plan = make_plan(config)

    @cache
    def times_of(strategy: Strategy) -> Times | None:
        try:
            columns = deal_columns(plan.kernels, strategy, config.device)
            # The device may have too few contexts for so many columns of a chain.
            if max(columns) < strategy.columns:
                return None
            changed = copy(plan.config)
            # Past the checks of a frozen dataclass, which take longer than the model.
            object.__setattr__(changed, "strategy", strategy)
            model = experiment_model(replace(plan, config=changed, columns=columns))
            times = model.times()
        except RequestError:
            return None
        complete = bool(model.completes(times))
        return (int(times.makespan_ns), pass_bound_ns(model.timed)) if complete else None

    if not times_of(config.strategy):
        return None
    return Variants(config.strategy, _limits(config, KNOBS), times_of, by_stages=False)


def _by_stages(config: Config, totals: Totals) -> Variants | None:
    """None if the totals do not have the times of the stages, or if these do not give the total."""
    own, model = config.strategy, _measured_model(config, totals)
    if model is None:
        return None

    @cache
    def times_of(strategy: Strategy) -> Times:
        station = replace(model.stations[0], partitions=tuple(range(strategy.columns)))
        changed = replace(
            model, stations=(station,), in_flight=strategy.in_flight, slots=strategy.slots
        )
        return int(pass_times(changed, 0).makespan_ns), pass_bound_ns(changed)

    total_ns, _ = times_of(own)
    if abs(total_ns - totals.makespan_ns) > AGREEMENT * totals.makespan_ns:
        return None
    knobs = ("depth",) if isinstance(config.device, Cpu) else ("depth", "columns")
    return Variants(own, _limits(config, knobs), times_of, by_stages=True)


def _measured_model(config: Config, totals: Totals) -> PassModel | None:
    """The model of a pass over a single kernel with the stage times of its totals.

    None without device timestamps, for several kernels, and for cold passes, whose first execution
    on a context is not like the others.
    """
    workload, strategy = config.workload, config.strategy
    host_ns, serial_ns, exec_ns = totals.host_bound_ns, totals.serial_ns, totals.exec_ns
    if host_ns is None or serial_ns is None or exec_ns is None:
        return None
    if len(workload.kernels) > 1 or not config.measure.warmup or totals.tiles != workload.tiles:
        return None
    submissions = ceil(totals.tiles / strategy.batch)
    # `bounds` counts the shortest launch and the shortest completion for each submission.
    launch_ns = (host_ns - totals.alloc_ns - totals.write_ns - totals.read_ns) // submissions
    completion_ns = max(0, serial_ns - host_ns - exec_ns) // submissions
    # Time of the host between the stages: the harness's own, which real clocks see.
    own_ns = totals.makespan_ns - totals.host_ns - totals.wait_ns - totals.open_ns
    counts = {strategy.batch, totals.tiles % strategy.batch} - {0}
    station = Station(
        tuple(range(strategy.columns)),
        exec_ns // totals.tiles,
        {count: totals.write_ns * count // totals.tiles for count in counts},
        {count: (totals.read_ns + own_ns) * count // totals.tiles for count in counts},
    )
    return PassModel(
        (station,),
        totals.tiles,
        strategy.batch,
        strategy.in_flight,
        strategy.slots,
        alloc_ns=totals.alloc_ns // submissions,
        launch_ns=launch_ns,
        completion_ns=completion_ns,
    )


def _limits(config: Config, knobs: Sequence[str]) -> dict[str, int]:
    """The largest value of each knob of which a pass can use several."""
    strategy, tiles = config.strategy, config.workload.tiles
    submissions = ceil(tiles / strategy.batch)
    limits = {
        "depth": min(MOST, ceil(submissions / strategy.columns)),
        "batch": min(MOST, tiles),
        "columns": min(config.device.columns, submissions),
    }
    return {knob: limits[knob] for knob in knobs if max(limits[knob], getattr(strategy, knob)) > 1}
