"""What can be said of strategies on a simulated device, and which numbers of its profile that rests on.

A number is halved and raised by half, one at a time, and the strategies run again each time, in virtual time. What can
be said of them then is held against what the profile says as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cache
from itertools import combinations, groupby
from math import ceil, inf
from typing import Any

from harness.config.device import Simulator
from harness.config.schema import Config, Verify
from harness.config.strategy import Buffers, Strategy
from harness.errors import HarnessError, RequestError
from harness.measure.bounds import bounds
from harness.run.experiment import Experiment

SAME_PCT = 1
"""Times that differ by no more count as the same."""
SERIAL = Strategy(buffers=Buffers.per_tile)
COSTS = ("ns", "mib", "mhz", "pct")
"""How the names of costs end; other numbers are limits."""
SHARES = ("-50 %", "+50 %")


@dataclass(frozen=True)
class Number:
    """One number of the profile, by its key in YAML below `device`; `source` is empty where none is given."""

    key: str
    value: float
    source: str

    @property
    def is_limit(self) -> bool:
        """Whether it is a count of something, not what something costs."""
        return not any(part.endswith(COSTS) for part in self.key.split("."))

    @property
    def is_assumed(self) -> bool:
        """Whether its source says so, or it is a cost without one."""
        return "assumed" in self.source if self.source else "_ns" in self.key

    @property
    def variants(self) -> dict[str, float]:
        """Half of it and one and a half times it: whole numbers of whole ones, limits and clocks at least 1."""
        low, high = self.value / 2, self.value * 3 / 2
        if isinstance(self.value, int):
            low, high = max(int(self.is_limit or "_mhz" in self.key), int(low)), ceil(high)
        return {
            share: new for share, new in zip(SHARES, (low, high), strict=True) if new != self.value
        }


@dataclass(frozen=True)
class Point:
    """One strategy on one profile: how long a pass took, and whose work its bound is made of."""

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
    """All strategies on one profile, by name: as they are and one deeper; `serial`: what speed-ups are over."""

    points: dict[str, Measured]
    deeper: dict[str, Measured]
    serial: Measured


@dataclass(frozen=True)
class Study:
    """The strategies by name, fastest first; the profile as it is, and with each of `numbers` at each of its shares."""

    strategies: dict[str, Strategy]
    numbers: list[Number]
    base: Case
    varied: dict[tuple[Number, str], Case]

    def said(self, case: Case) -> dict[tuple[str, ...], str]:
        """Every conclusion from one case, in words; the first part of its key is its kind."""
        points = {
            name: point for name in self.strategies if isinstance(point := case.points[name], Point)
        }
        whole = len(points) == len(self.strategies)
        found: dict[tuple[str, ...], str] = (
            {("ranking",): f"ranking {_ranking(points)}"} if whole else {}
        )
        for (first, one), (second, other) in combinations(points.items(), 2):
            if max(one.longer_pct(other), other.longer_pct(one)) <= SAME_PCT:
                text = f"{first} and {second} the same"
            elif one.total_ns < other.total_ns:
                text = f"{first} faster than {second}"
            else:
                text = f"{second} faster than {first}"
            found["comparison", first, second] = text
        for name, point in points.items():
            found["bound", name] = f"{name} bound by the {point.binding}"
            found["depth", name] = (
                f"{name}: d{self.strategies[name].depth + 1} {_gain(point, case.deeper[name])}"
            )
        return found

    def runnable(self) -> list[Case]:
        """The variations that any strategy runs in."""
        return [
            each
            for each in self.varied.values()
            if any(isinstance(point, Point) for point in each.points.values())
        ]

    def surviving(self) -> dict[tuple[str, ...], str]:
        """The conclusions that no variation contradicts."""
        others = [self.said(case) for case in self.runnable()]
        return {
            key: text
            for key, text in self.said(self.base).items()
            if all(o.get(key, text) == text for o in others)
        }

    def changes(self, number: Number) -> dict[str, list[str]]:
        """What is said otherwise, or does not run, once `number` is another -> at which shares."""
        base, found = self.said(self.base), dict[str, list[str]]()
        for (varied, share), case in self.varied.items():
            if varied != number:
                continue
            failed = {
                name: point for name, point in case.points.items() if isinstance(point, Failure)
            }
            if failed:
                who = ", ".join(failed) if len(failed) < len(case.points) else "every strategy"
                found.setdefault(f"{who} fails ({next(iter(failed.values()))})", []).append(share)
            for key, text in self.said(case).items():
                if text != base[key]:
                    found.setdefault(
                        _turned(base[key], text) if key[0] == "comparison" else text, []
                    ).append(share)
        return found

    def moves(self, number: Number) -> dict[str, float]:
        """By the share of `number`: the largest change of the time per tile, over the strategies; percent."""
        found: dict[str, float] = {}
        for (varied, share), case in self.varied.items():
            if varied == number:
                pairs = [(case.points[name], self.base.points[name]) for name in self.strategies]
                moved = [
                    new.longer_pct(old)
                    for new, old in pairs
                    if isinstance(new, Point) and isinstance(old, Point)
                ]
                found |= {share: max(moved, key=abs)} if moved else {}
        return found

    def inert(self, number: Number) -> bool:
        """Whether nothing at all depends on `number`."""
        return all(
            case == self.base for (varied, _), case in self.varied.items() if varied == number
        )


def numbers_of(device: Simulator, kernels: Sequence[str], everything: bool = False) -> list[Number]:
    """The assumed costs of a profile, less what other kernels take; everything: all numbers that have a source too."""
    others = {f"exec_ns.{name}" for name in device.exec_ns if name not in kernels}
    found = [
        Number(key, value, _source(device, key))
        for key, value in _entries(device)
        if key not in others
    ]
    return [
        each
        for each in found
        if (each.is_assumed and not each.is_limit) or (everything and each.source)
    ]


def study(
    configs: dict[str, Config], everything: bool, progress: Callable[[str], None] = lambda key: None
) -> Study:
    """Run the strategies on the profile and on each variation of it; HarnessError where one fails on the former."""
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
                case = _case(configs, _changed(device, number.key, value))
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


def _entries(device: Simulator) -> Iterator[tuple[str, float]]:
    """Key and value of every number of the profile, those in mappings and of the noise among them."""
    for item in fields(device):
        value = getattr(device, item.name)
        if is_dataclass(value):
            value = {inner.name: getattr(value, inner.name) for inner in fields(value)}
        flat = (
            {f"{item.name}.{key}": each for key, each in value.items()}
            if isinstance(value, dict)
            else {}
        )
        for key, each in (flat or {item.name: value}).items():
            if (
                isinstance(each, int | float)
                and not isinstance(each, bool)
                and not key.endswith(".seed")
            ):
                yield key, each


def _source(device: Simulator, key: str) -> str:
    return device.sources.get(key) or device.sources.get(key.partition(".")[0], "")


def _changed(device: Simulator, key: str, value: float) -> Simulator:
    """The profile with one number changed; RequestError where that is out of range."""
    name, _, inner = key.partition(".")
    changed: Any = value
    if inner:
        held = getattr(device, name)
        changed = (
            {**held, inner: value} if isinstance(held, dict) else replace(held, **{inner: value})
        )
    return replace(device, **{name: changed})


def _case(configs: dict[str, Config], device: Simulator) -> Case:
    """Every strategy on one profile; what two names stand for runs once."""

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
    """One timed pass of the harness's own experiment; without noise, more of them would be alike."""
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


def _turned(was: str, now: str) -> str:
    """How a comparison comes out, told by how it came out before."""
    if "faster" not in now:
        return was.replace("faster", "no longer faster")
    return f"{now}, reversed" if "faster" in was else now


def _gain(point: Point, deeper: Measured) -> str:
    if isinstance(deeper, Failure):
        return "fails"
    if max(point.longer_pct(deeper), deeper.longer_pct(point)) <= SAME_PCT:
        return "gains nothing"
    return "pays" if deeper.total_ns < point.total_ns else "costs"
