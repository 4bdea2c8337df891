"""What all comparisons share: options, the printed table, the exit code."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path

from harness.commands.closing import OUTPUTS
from harness.commands.hydra_argv import is_key
from harness.commands.terminal import Presentation, show
from harness.errors import RequestError
from harness.measure.comparison import LEAST_PAIRS, THRESHOLD, Change, Gate, Limits, gate
from harness.report.comparison import comparison_parts, percent
from harness.report.tables import Part
from harness.study.comparison import Result, Row
from harness.study.noise_floor import floor_for

MOST_PERCENT = 1000
FLOORS = OUTPUTS / "noise-floor"
"""Folder of the noise floors that `harness noise-floor` stores."""
PAIRS = "pairs"
MOST_ROUNDS = 10_000


@dataclass(frozen=True)
class Options:
    """What the flags ask for; slower: the limit of the gate as a share, None without a gate.

    floor: the line about the noise floor in `limits`. picture: the file for the forest plot.
    """

    limits: Limits
    slower: float | None = None
    floor: str = ""
    picture: Path | None = None


def options_of(threshold: str | None, fail_on: str | None) -> Options:
    """The options by the values of the flags, None where one is absent; RequestError."""
    limits = Limits(THRESHOLD if threshold is None else _share(threshold, "--threshold "))
    return Options(limits, _limit_of(fail_on))


def with_floor(wanted: Options, rows: Sequence[Row]) -> tuple[Options, str]:
    """The options with the stored noise floor for the runs of these rows; and a doubt about it."""
    records = [record for row in rows for record in row.records]
    found = floor_for(records, FLOORS)
    limits = replace(wanted.limits, noise_floor=found.share)
    return replace(wanted, limits=limits, floor=found.line), found.doubt


def take_flags(arguments: Sequence[str], flags: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """The arguments without flags that Hydra does not know, and the values of these."""
    rest, values = list[str](), dict[str, str]()
    words = iter(arguments)
    for word in words:
        flag, equals, value = word.partition("=")
        if flag not in flags:
            rest.append(word)
            continue
        values[flag] = value if equals else next(words, "")
        if not values[flag]:
            raise RequestError(f"{flag}: no value; write {flag} <value>")
    return rest, values


def take_pairs(arguments: Sequence[str], default: int) -> tuple[list[str], int]:
    """The overrides without `pairs=N` and the flag -m, and N; RequestError for a wrong one."""
    rest, text = list[str](), str(default)
    for word in arguments:
        key, equals, value = word.partition("=")
        if key == PAIRS and equals:
            text = value
        elif equals and not is_key(key) and get_close_matches(key, [PAIRS], n=1):
            raise RequestError(f"{word}: unknown key; did you mean {PAIRS}={value}?")
        elif word not in ("-m", "--multirun"):
            rest.append(word)
    if not text.isdecimal() or not LEAST_PAIRS <= int(text) <= MOST_ROUNDS:
        raise RequestError(
            f"{PAIRS}={text}: not allowed; an interval needs {LEAST_PAIRS} or more, up to "
            f"{MOST_ROUNDS}"
        )
    return rest, int(text)


def print_results(
    results: Sequence[Result],
    wanted: Options,
    presentation: Presentation,
    closing: Sequence[str] = (),
    *,
    live: bool = False,
) -> None:
    """Print the table, and for readers the lines below it."""
    parts: list[Part] = comparison_parts(results, wanted.limits, wanted.floor, live=live)
    if wanted.slower is not None:
        answer = ("no", "yes", "cannot be decided")[exit_code_of(results, wanted)]
        parts.append(f"slower by more than {percent(wanted.slower)}: {answer}")
    show([*parts, *closing], "table", presentation, "the records hold all of it")


def exit_code_of(results: Sequence[Result], wanted: Options) -> int:
    """The exit code: that of the gate, or 2 if a comparison is invalid."""
    if wanted.slower is None:
        return 2 if any(each.comparison.change is Change.INVALID for each in results) else 0
    floor = wanted.limits.noise_floor
    gates = {gate(each.comparison, wanted.slower, floor) for each in results}
    if Gate.regression in gates:
        return Gate.regression.value
    return max((each.value for each in gates), default=Gate.undecided.value)


def _share(text: str, flag: str) -> float:
    """A percentage as a share; RequestError for anything else. flag: what stands before it."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?%?", text.strip())
    if not match or not 0 < float(match[1]) <= MOST_PERCENT:
        raise RequestError(
            f"{flag}{text}: not a percentage; give a number above 0 and up to {MOST_PERCENT}, as "
            "in 1% or 0.5%"
        )
    return float(match[1]) / 100


def _limit_of(text: str | None) -> float | None:
    """The limit of `--fail-on`."""
    if text is None:
        return None
    kind, _, value = text.partition(":")
    if kind != "slower" or not value:
        raise RequestError(f"--fail-on {text}: not allowed; give slower:PERCENT, as in slower:2%")
    return _share(value, "--fail-on slower:")
