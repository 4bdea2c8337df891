"""Vary each number of a simulated device's profile to see which conclusions depend on it.

Each number is halved and raised by half, one at a time, and the strategies run again in virtual
time. The conclusions of each variation are compared with those of the profile as it is.
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
from harness.measure.bounds import bounds
from harness.run.experiment import Experiment
from harness.study.profile_numbers import Number, numbers_of, with_number

SAME_PCT = 1
"""Times that differ by no more than this count as the same."""
SERIAL = Strategy(buffers=Buffers.per_tile)


@dataclass(frozen=True)
class Point:
    """One strategy on one profile: the time of a pass, and which side binds it."""

    total_ns: int
    binding: str

    def longer_pct(self, other: Point) -> float:
        """By how much it takes longer than the other."""
        if not other.total_ns:
            return inf if self.total_ns else 0.0
        return 100 * self.total_ns / other.total_ns - 100


Failure = str
Measured = Point | Failure


@dataclass(frozen=True)
class Case:
    """All strategies on one profile, by name: as they are and one deeper; serial: the baseline."""

    points: dict[str, Measured]
    deeper: dict[str, Measured]
    serial: Measured


@dataclass(frozen=True)
class Study:
    """The strategies, fastest first; the profile as it is, and with each number at each share."""

    strategies: dict[str, Strategy]
    numbers: list[Number]
    base: Case
    varied: dict[tuple[Number, str], Case]

    def conclusions(self, case: Case) -> dict[tuple[str, ...], str]:
        """Every conclusion from one case, in words; the first part of its key is its kind."""
        points = {
            name: point for name in self.strategies if isinstance(point := case.points[name], Point)
        }
        whole = len(points) == len(self.strategies)
        texts: dict[tuple[str, ...], str] = (
            {("ranking",): f"ranking {_ranking(points)}"} if whole else {}
        )
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
        """The variations that any strategy runs in."""
        return [
            each
            for each in self.varied.values()
            if any(isinstance(point, Point) for point in each.points.values())
        ]

    def surviving(self) -> dict[tuple[str, ...], str]:
        """The conclusions that no variation contradicts."""
        others = [self.conclusions(case) for case in self.runnable()]
        return {
            key: text
            for key, text in self.conclusions(self.base).items()
            if all(o.get(key, text) == text for o in others)
        }

    def changes(self, number: Number) -> dict[str, list[str]]:
        """Conclusions that differ, or failures, where `number` is another -> at which shares."""
        base, shares = self.conclusions(self.base), dict[str, list[str]]()
        for (varied, share), case in self.varied.items():
            if varied != number:
                continue
            failed = {
                name: point for name, point in case.points.items() if isinstance(point, Failure)
            }
            if failed:
                who = ", ".join(failed) if len(failed) < len(case.points) else "every strategy"
                shares.setdefault(f"{who} fails ({next(iter(failed.values()))})", []).append(share)
            for key, text in self.conclusions(case).items():
                if text != base[key]:
                    shares.setdefault(
                        _reversal(base[key], text) if key[0] == "comparison" else text, []
                    ).append(share)
        return shares

    def moves(self, number: Number) -> dict[str, float]:
        """Share of `number` -> the largest change of any strategy's time per tile, percent."""
        largest: dict[str, float] = {}
        for (varied, share), case in self.varied.items():
            if varied == number:
                pairs = [(case.points[name], self.base.points[name]) for name in self.strategies]
                moved = [
                    new.longer_pct(old)
                    for new, old in pairs
                    if isinstance(new, Point) and isinstance(old, Point)
                ]
                largest |= {share: max(moved, key=abs)} if moved else {}
        return largest

    def inert(self, number: Number) -> bool:
        """Whether nothing at all depends on `number`."""
        return all(
            case == self.base for (varied, _), case in self.varied.items() if varied == number
        )


def study(
    configs: dict[str, Config], everything: bool, progress: Callable[[str], None] = lambda key: None
) -> Study:
    """Run the strategies on the profile and on each variation of it.

    HarnessError where one fails on the profile as it is.
    """
    config = next(iter(configs.values()))
    device = config.device
    assert isinstance(device, Simulator)
    base = _case(configs, device)
    for point in (base.serial, *base.points.values()):
        if isinstance(point, Failure):
            raise HarnessError(point)
    varied, numbers = {}, numbers_of(device, config.workload.kernels, everything)
    for number in numbers:
        progress(number.key)
        for share, value in number.variants.items():
            try:
                case = _case(configs, with_number(device, number.key, value))
            except RequestError as error:  # no profile, or none for these strategies
                case = Case(
                    dict.fromkeys(configs, str(error)),
                    dict.fromkeys(configs, str(error)),
                    str(error),
                )
            varied[number, share] = case
    totals = {
        name: point.total_ns for name, point in base.points.items() if isinstance(point, Point)
    }
    return Study(
        {name: configs[name].strategy for name in sorted(totals, key=totals.__getitem__)},
        numbers,
        base,
        varied,
    )


def _case(configs: dict[str, Config], device: Simulator) -> Case:
    """Every strategy on one profile; a strategy that has two names runs once."""

    @cache
    def measured(strategy: Strategy) -> Measured:
        return _measured(replace(some, strategy=strategy))

    def deeper(strategy: Strategy) -> Measured:
        try:
            return measured(replace(strategy, depth=strategy.depth + 1))
        except RequestError as error:
            return str(error)

    some = replace(next(iter(configs.values())), device=device)
    strategies = {name: config.strategy for name, config in configs.items()}
    points = {name: measured(strategy) for name, strategy in strategies.items()}
    return Case(
        points, {name: deeper(strategy) for name, strategy in strategies.items()}, measured(SERIAL)
    )


def _measured(config: Config) -> Measured:
    """One timed pass of an experiment; without noise, all passes take the same time."""
    measure = replace(config.measure, repeats=1)
    outcome = Experiment(replace(config, measure=measure, verify=Verify.off)).run()
    if outcome.interrupted:
        raise KeyboardInterrupt
    limits = bounds(outcome.timeline) if outcome.timeline else None
    if limits is None:
        return f"{config.strategy.label}: {outcome.reason}"
    return Point(limits.makespan_ns, "host" if limits.bound_ns == limits.host_ns else "device")


def _ranking(points: dict[str, Point]) -> str:
    """Names, fastest first; `=` between those of one time."""
    ordered = groupby(
        sorted(points, key=lambda name: points[name].total_ns),
        key=lambda name: points[name].total_ns,
    )
    return ", ".join(" = ".join(names) for _, names in ordered)


def _reversal(was: str, now: str) -> str:
    """A comparison's new result, in words that relate it to the old one."""
    if "faster" not in now:
        return was.replace("faster", "no longer faster")
    return f"{now}, reversed" if "faster" in was else now


def _gain(point: Point, deeper: Measured) -> str:
    if isinstance(deeper, Failure):
        return "fails"
    if max(point.longer_pct(deeper), deeper.longer_pct(point)) <= SAME_PCT:
        return "gains nothing"
    return "pays" if deeper.total_ns < point.total_ns else "costs"
