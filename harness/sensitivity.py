"""`python -m harness.sensitivity`: which conclusions on strategies rest on numbers that nobody has measured.

Every assumed number of the simulated device's profile is halved and raised by half, one at a time; the strategies run
again each time, in virtual time and without noise. What is said of them then is compared with what the profile says.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cache
from itertools import combinations
from math import ceil
from typing import NoReturn

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from yaml import YAMLError

from harness import config as configuration
from harness.bounds import bounds
from harness.config import Config, Verify
from harness.device import Clock, Faults, Noise, Simulator
from harness.errors import HarnessError, RequestError
from harness.experiment import Experiment
from harness.report.progress import PassBar
from harness.strategy import Buffers, Strategy

STRATEGIES = "baseline,pooled,pipelined,batch,stacked"
SAME_PCT = 1
"""Times that differ by no more count as the same."""
SERIAL = Strategy(buffers=Buffers.per_tile)
COSTS = ("_ns", "_mib", "_mhz", "_pct")
"""How the names of costs end; other numbers are limits."""
UNLIMITED = 1_000
"""Columns that no table needs."""
INTERRUPTED = 130


@dataclass(frozen=True)
class Number:
    """One number of the profile, by the key it has in YAML below `device`; `source` is empty where none is given."""

    key: str
    value: float
    source: str

    @property
    def is_limit(self) -> bool:
        """Whether it is a count of something, not what something costs."""
        return not self.key.partition(".")[0].endswith(COSTS) and not self.key.endswith(COSTS)

    @property
    def is_assumed(self) -> bool:
        """Whether its source says so, or it is a cost without one."""
        return "assumed" in self.source if self.source else self.key.partition(".")[0].endswith("_ns")

    @property
    def variants(self) -> dict[str, float]:
        """Half of it, and one and a half times it; whole where it is, and 1 at the least where it cannot be 0."""
        low, high = self.value / 2, self.value * 3 / 2
        if isinstance(self.value, int):
            least = 1 if self.is_limit or "_mhz" in self.key else 0
            low, high = max(least, int(low)), ceil(high)
        return {share: new for share, new in (("-50 %", low), ("+50 %", high)) if new != self.value}


@dataclass(frozen=True)
class Point:
    """One strategy on one profile: how long a pass took, and whose work its bound is made of."""

    total_ns: int
    binding: str


Failure = str
Measured = Point | Failure


@dataclass(frozen=True)
class Case:
    """All strategies on one profile: by name, each as it is and one deeper; `serial` is the baseline of speed-ups."""

    points: dict[str, Measured]
    deeper: dict[str, Measured]
    serial: Measured


@dataclass(frozen=True)
class Variation:
    """One number changed, and all strategies on the profile with it."""

    number: Number
    share: str
    case: Case


@dataclass(frozen=True)
class Study:
    """`configs` by name of the strategy, fastest first, as `base` has them; all numbers varied, and how that went."""

    configs: dict[str, Config]
    numbers: list[Number]
    base: Case
    variations: list[Variation]

    @property
    def cases(self) -> list[Case]:
        """The profile as it is, and every variation of it."""
        return [self.base, *(each.case for each in self.variations)]

    @property
    def inert(self) -> list[Number]:
        """Numbers that were varied and changed nothing at all."""
        moving = {each.number.key for each in self.variations if each.case != self.base}
        return [number for number in self.numbers if number.variants and number.key not in moving]

    def said(self, case: Case) -> dict[tuple[str, ...], str]:
        """Every conclusion from one case, in words; the first part of its key is the kind."""
        points, names = case.points, list(self.configs)
        found = {("ranking",): f"ranking: {_ranking(points)}"}
        for first, second in combinations(names, 2):
            found["comparison", first, second] = _compared(first, points[first], second, points[second])
        for name in names:
            point, deeper = points[name], case.deeper[name]
            if isinstance(point, Point):
                found["bound", name] = f"{name} bound by the {point.binding}"
                found["depth", name] = f"{name}: {self.depth(name)} {_gains(point, deeper)}"
        return found

    def depth(self, name: str) -> str:
        """The depth that is tried beyond the one asked for."""
        return f"d{self.configs[name].strategy.depth + 1}"

    def surviving(self) -> dict[tuple[str, ...], str]:
        """Conclusions that every variation comes to as well."""
        others = [self.said(each.case) for each in self.variations]
        return {key: text for key, text in self.said(self.base).items() if all(o.get(key) == text for o in others)}

    def changes(self, number: Number) -> dict[str, list[str]]:
        """What is said otherwise with `number` changed -> the variations of it that have it so."""
        base, found = self.said(self.base), dict[str, list[str]]()
        for each in self.variations:
            if each.number == number:
                said = self.said(each.case)
                failed = {f"{name} fails: {point}" for name, point in each.case.points.items() if _failed(point)}
                texts = [text for key, text in said.items() if base.get(key) != text] if not failed else sorted(failed)
                for text in texts:
                    found.setdefault(text, []).append(each.share)
        return found


def numbers(device: Simulator, everything: bool = False) -> list[Number]:
    """The assumed costs of a profile; everything: all numbers that have a source."""
    found = [Number(key, value, _source(device, key)) for key, value in _entries(device)]
    return [
        number
        for number in found
        if (number.is_assumed and not number.is_limit) or (everything and number.source)
    ]


def study(configs: dict[str, Config], everything: bool = False, progress: Callable[[str], None] = print) -> Study:
    """Run every strategy on the profile and on each variation of it; HarnessError where one fails on the former."""
    device = next(iter(configs.values())).device
    assert isinstance(device, Simulator)
    chosen = numbers(device, everything)
    base = _case(configs, device)
    for point in (base.serial, *base.points.values()):
        if isinstance(point, Failure):
            raise HarnessError(point)
    ordered = {name: configs[name] for name in sorted(configs, key=lambda name: _total_ns(base.points[name]))}
    variations = []
    for number in chosen:
        progress(number.key)
        for share, value in number.variants.items():
            try:
                case = _case(configs, _changed(device, number.key, value))
            except RequestError as error:
                case = Case(dict.fromkeys(configs, str(error)), dict.fromkeys(configs, str(error)), str(error))
            variations.append(Variation(number, share, case))
    return Study(ordered, chosen, base, variations)
