"""Sensitivity analysis: change one number of a simulated device's profile at a time.

A variation is the profile with one number halved or raised by half. The strategies run on each
variation in virtual time, and their conclusions are compared with those on the unchanged profile.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from itertools import combinations, groupby
from math import inf

from harness.config.device import Simulator
from harness.config.schema import Config, Verify
from harness.config.strategy import Buffers, Strategy
from harness.errors import HarnessError, RequestError
from harness.execution.experiment import Experiment
from harness.measure.bounds import bounds
from harness.study.profile_numbers import Number, numbers_of, with_number

SAME_PCT = 1
"""Times that differ by no more than this count as the same."""
SERIAL = Strategy(buffers=Buffers.per_tile)


@dataclass(frozen=True)
class Point:
    """One strategy on one profile: the time of a pass, and which side (host, device) limits it."""

    total_ns: int
    binding: str

    def longer_pct(self, other: Point) -> float:
        """By how many percent this point takes longer than the other; negative if it is faster."""
        if not other.total_ns:
            return inf if self.total_ns else 0.0
        return 100 * self.total_ns / other.total_ns - 100


Failure = str
"""Reason why a strategy could not run."""
Result = Point | Failure


@dataclass(frozen=True)
class Case:
    """All strategies on one profile.

    points: by name of the strategy. deeper: the same strategies with a depth of one more. serial:
    the serial strategy.
    """

    points: dict[str, Result]
    deeper: dict[str, Result]
    serial: Result


@dataclass(frozen=True)
class Study:
    """The results of a sensitivity study.

    strategies: by name, fastest first. numbers: that the variations change. base: results on the
    unchanged profile. variations: results on each variation, by number and change
    (`profile_numbers.CHANGES`).
    """

    strategies: dict[str, Strategy]
    numbers: list[Number]
    base: Case
    variations: dict[tuple[Number, str], Case]

    def conclusions(self, case: Case) -> dict[tuple[str, ...], str]:
        """Every conclusion from one case as text, by key.

        Keys are ("ranking",), ("comparison", first, second), ("bound", name), ("depth", name).
        Strategies that failed have no conclusions, and then there is no ranking.
        """
        points: dict[str, Point] = {}
        for name in self.strategies:
            point = case.points[name]
            if isinstance(point, Point):
                points[name] = point
        texts: dict[tuple[str, ...], str] = {}
        if len(points) == len(self.strategies):
            texts["ranking",] = f"ranking {_ranking(points)}"
        for (first, one), (second, other) in combinations(points.items(), 2):
            if max(one.longer_pct(other), other.longer_pct(one)) <= SAME_PCT:
                text = f"{first} and {second} the same"
            elif one.total_ns < other.total_ns:
                text = f"{first} faster than {second}"
            else:
                text = f"{second} faster than {first}"
            texts["comparison", first, second] = text
        for name, point in points.items():
            texts["bound", name] = f"{name} bound by the {point.binding}"
            texts["depth", name] = (
                f"{name}: d{self.strategies[name].depth + 1} {_gain(point, case.deeper[name])}"
            )
        return texts

    def runnable(self) -> list[Case]:
        """The variations in which at least one strategy runs."""
        return [
            each
            for each in self.variations.values()
            if any(isinstance(point, Point) for point in each.points.values())
        ]

    def surviving(self) -> dict[tuple[str, ...], str]:
        """The conclusions that no variation contradicts."""
        others = [self.conclusions(case) for case in self.runnable()]
        return {
            key: text
            for key, text in self.conclusions(self.base).items()
            # A strategy that fails in a variation has no conclusion there, which contradicts
            # nothing.
            if all(o.get(key, text) == text for o in others)
        }

    def changed_conclusions(self, number: Number) -> dict[str, list[str]]:
        """Conclusions that differ and strategies that fail when `number` changes.

        Each as text, with the changes of the number at which it occurs.
        """
        base, changes = self.conclusions(self.base), dict[str, list[str]]()
        for (changed, change), case in self.variations.items():
            if changed != number:
                continue
            failures = {
                name: point for name, point in case.points.items() if isinstance(point, Failure)
            }
            if failures:
                is_every = len(failures) == len(case.points)
                who = "every strategy" if is_every else ", ".join(failures)
                reason = next(iter(failures.values()))
                changes.setdefault(f"{who} fails ({reason})", []).append(change)
            for key, text in self.conclusions(case).items():
                if text != base[key]:
                    difference = _reversal(base[key], text) if key[0] == "comparison" else text
                    changes.setdefault(difference, []).append(change)
        return changes

    def time_changes_pct(self, number: Number) -> dict[str, float]:
        """For each change of `number`, the largest change of any strategy's time, in percent."""
        largest: dict[str, float] = {}
        for (changed, change), case in self.variations.items():
            if changed != number:
                continue
            changes_pct = []
            for name in self.strategies:
                new, old = case.points[name], self.base.points[name]
                if isinstance(new, Point) and isinstance(old, Point):
                    changes_pct.append(new.longer_pct(old))
            if changes_pct:
                largest[change] = max(changes_pct, key=abs)
        return largest

    def has_no_effect(self, number: Number) -> bool:
        """Whether no result at all depends on `number`."""
        return all(
            # To the nanosecond: virtual time has no noise to allow for.
            case == self.base
            for (changed, _), case in self.variations.items()
            if changed == number
        )


def study(
    configs: dict[str, Config], everything: bool, progress: Callable[[str], None] = lambda key: None
) -> Study:
    """Run the strategies on the profile and on each variation of it.

    configs: one per strategy, by name, equal in everything else. everything: also change numbers
    that are not assumed. progress: called with the key of each number before it is changed.
    HarnessError if a strategy fails on the unchanged profile.
    """
    config = next(iter(configs.values()))
    device = config.device
    # The command refuses other devices.
    assert isinstance(device, Simulator)
    base = _case(configs, device)
    for point in (base.serial, *base.points.values()):
        if isinstance(point, Failure):
            raise HarnessError(point)
    variations, numbers = {}, numbers_of(device, config.workload.kernels, everything)
    for number in numbers:
        progress(number.key)
        for change, value in number.changed_values.items():
            try:
                case = _case(configs, with_number(device, number.key, value))
            # The value is out of range, or the device it describes cannot run these strategies.
            except RequestError as error:
                failures: dict[str, Result] = dict.fromkeys(configs, str(error))
                case = Case(failures, failures, str(error))
            variations[number, change] = case
    # Every point ran: a failure on the unchanged profile was raised above.
    totals = {
        name: point.total_ns for name, point in base.points.items() if isinstance(point, Point)
    }
    return Study(
        {name: configs[name].strategy for name in sorted(totals, key=totals.__getitem__)},
        numbers,
        base,
        variations,
    )


def _case(configs: dict[str, Config], device: Simulator) -> Case:
    """Every strategy on one profile; equal strategies under two names run once."""
    template = replace(next(iter(configs.values())), device=device)

    @cache
    def measure(strategy: Strategy) -> Result:
        return _measure(replace(template, strategy=strategy))

    def measure_deeper(strategy: Strategy) -> Result:
        try:
            return measure(replace(strategy, depth=strategy.depth + 1))
        except RequestError as error:
            return str(error)

    strategies = {name: config.strategy for name, config in configs.items()}
    points = {name: measure(strategy) for name, strategy in strategies.items()}
    deeper = {name: measure_deeper(strategy) for name, strategy in strategies.items()}
    return Case(points, deeper, measure(SERIAL))


def _measure(config: Config) -> Result:
    """Run one timed pass of an experiment; without noise, all passes take the same time."""
    measure = replace(config.measure, repeats=1)
    # Outputs do not depend on the profile, so they are not computed.
    outcome = Experiment(replace(config, measure=measure, verify=Verify.off)).run()
    # `Experiment.run` does not raise after Ctrl-C, but the whole study has to stop.
    if outcome.interrupted:
        raise KeyboardInterrupt
    timeline = outcome.timeline
    # Of an encoder, the spans are only those of a few calls.
    limits = bounds(timeline) if timeline and not timeline.parts else None
    if limits is None:
        return f"{config.strategy.label}: {outcome.reason}"
    return Point(limits.makespan_ns, "host" if limits.bound_ns == limits.host_ns else "device")


def _ranking(points: dict[str, Point]) -> str:
    """Names of the strategies, fastest first, with `=` between those that take the same time."""
    ordered = groupby(
        sorted(points, key=lambda name: points[name].total_ns),
        key=lambda name: points[name].total_ns,
    )
    return ", ".join(" = ".join(names) for _, names in ordered)


def _reversal(was: str, now: str) -> str:
    """The text of a comparison that changed from `was` to `now`."""
    if "faster" not in now:
        return was.replace("faster", "no longer faster")
    return f"{now}, reversed" if "faster" in was else now


def _gain(point: Point, deeper: Result) -> str:
    """The effect of one more depth, as text."""
    if isinstance(deeper, Failure):
        return "fails"
    if max(point.longer_pct(deeper), deeper.longer_pct(point)) <= SAME_PCT:
        return "gains nothing"
    return "pays" if deeper.total_ns < point.total_ns else "costs"
