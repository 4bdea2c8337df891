"""Measure the noise floor of this host and device: equal runs, compared as different ones are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from harness.commands.closing import relative
from harness.commands.compare_live import CompareInvocation, Turns
from harness.commands.compare_result import FLOORS, Options, take_pairs
from harness.commands.hydra_argv import check_config_dir, config_dir, take_presentation
from harness.commands.parser import Parser
from harness.commands.sweep_plan import SweepPlan
from harness.errors import RequestError
from harness.measure.comparison import noise_floor_of
from harness.report.comparison import percent
from harness.study.comparison import Result, Row
from harness.study.noise_floor import NoiseFloor, conditions

HELP = "measure how much equal runs differ on this host and device"
DEFAULT_PAIRS = 20
EQUAL = "resume=on,on"
"""A key without effect on a run, with two equal values."""
NAME = "equal runs"
EPILOG = """\
harness compare uses the result for runs of this host and device.
Example: python -m harness noise-floor device=hardware workload=gelu pairs=20"""


def _help() -> Parser:
    parser = Parser("noise-floor", "Run equal pairs, and store how much they differ.", EPILOG)
    parser.add_argument("pairs=N", nargs="?", help=f"pairs of equal runs ({DEFAULT_PAIRS})")
    parser.add_argument("key=value", nargs="*", help="overrides, as a run takes them")
    return parser


@dataclass
class FloorInvocation(CompareInvocation):
    """One measurement of the noise floor."""

    def check(self, turns: Turns) -> None:
        """RequestError for times without noise, and for settings that differ."""
        if turns.exact:
            raise RequestError(
                "virtual time without noise has no noise floor: its times are exact; use "
                "device.noise.enabled=true, or a device in real time"
            )
        if len(turns.settings) > 2:
            raise RequestError(
                f"{', '.join(turns.swept)}: several values; the noise floor is that of equal runs, "
                "so give one"
            )

    def _with_floor(self, rows: Sequence[Row]) -> Options:
        """The options without a noise floor: this one is to be measured."""
        return self.wanted

    def _finish(self, results: Sequence[Result], plan: SweepPlan) -> list[str]:
        """Store the floor; nothing if a run is wrong, or after Ctrl-C."""
        (result,) = results
        share = noise_floor_of(result.comparison)
        lines = super()._finish(results, plan)
        if share is None or self.code or not self.complete:
            self.code = self.code or 2
            return ["noise floor: not stored, because pairs are missing or wrong", *lines]
        record = max(result.row.records, key=lambda each: each.created)
        floor = NoiseFloor(
            share,
            result.comparison.pairs,
            record.created,
            conditions(record),
            f"{record.label} {record.kernel}",
        )
        try:
            path = relative(floor.save(self.here / FLOORS), self.here)
        except OSError as error:
            self.fail(f"{FLOORS}: the noise floor cannot be written ({error}); free space")
            return lines
        return [f"noise floor: {percent(share)}, stored in {path}", *lines]

    def _results(self) -> list[Result]:
        name = NAME
        return [
            replace(each, row=replace(each.row, name=name, reference_name=name))
            for each in super()._results()
        ]


def main(arguments: Sequence[str]) -> int:
    """Measure, store and print; returns the exit code."""
    if {"--help", "-h"} & set(arguments):
        _help().print_help()
        return 0
    check_config_dir(config_dir(arguments))
    rest, presentation = take_presentation(arguments)
    rest, pairs = take_pairs(rest, DEFAULT_PAIRS)
    rest = [text for text in rest if not text.startswith("resume=")]
    return FloorInvocation(["-m", *rest, EQUAL], presentation, rounds=pairs).execute()
