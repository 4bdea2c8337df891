"""Compare stored runs, or run several settings in turns, and give a verdict with its certainty."""

from __future__ import annotations

import glob
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.commands.closing import OUTPUTS
from harness.commands.parser import Parser, presentation_of
from harness.commands.stored import load_runs
from harness.commands.terminal import Presentation, show
from harness.errors import RequestError
from harness.measure.comparison import THRESHOLD, Change, Gate, Limits, gate
from harness.report.comparison import comparison_parts, percent
from harness.report.tables import Part
from harness.results.find import SWEEP_FILE, by_number
from harness.results.record import Record
from harness.study.comparison import Result, judge, left_out, matched, refuse_mixture, within

HELP = "compare runs: the ratio of their times, and how sure it is"
MOST_PERCENT = 1000
EPILOG = """\
RUN_A is the reference. A pattern in quotes names several runs, of which those with the same
setting are paired in the order of their creation.
Exit codes: 0; 2 if a comparison is INVALID. With --fail-on: 0 within the limit, 1 beyond it,
2 undecided or invalid.
Example: python -m harness compare outputs/2026-01-31/10-00-00-000000 outputs/2026-02-01"""


@dataclass(frozen=True)
class Options:
    """What the flags ask for; slower: the limit of the gate as a share, None without a gate."""

    limits: Limits
    slower: float | None = None


def _parser() -> Parser:
    parser = Parser(
        "compare",
        description="Compare runs: the ratio of their times, its 95 % interval, and a verdict.",
        epilog=EPILOG,
        tables=True,
    )
    parser.add_argument(
        "runs",
        nargs="*",
        metavar="RUN_A RUN_B",
        help="folders of runs or sweeps, record.json files, or patterns of these",
    )
    parser.add_argument(
        "--sweep", metavar="ID", help="compare the settings of one sweep: its folder, or its name"
    )
    parser.add_argument(
        "--threshold",
        metavar="PERCENT",
        help=f"smallest difference that counts ({percent(THRESHOLD)}%)",
    )
    parser.add_argument(
        "--fail-on",
        metavar="slower:PERCENT",
        help="exit with 1 if a candidate is slower by more than that",
    )
    return parser


def main(arguments: Sequence[str]) -> int:
    """Compare and print; returns the exit code."""
    options = _parser().parse_intermixed_args(arguments)
    limits = Limits(THRESHOLD if options.threshold is None else _share(options.threshold))
    wanted = Options(limits, _limit_of(options.fail_on))
    return _compare_stored(options.runs, options.sweep, wanted, presentation_of(options))


def _compare_stored(
    runs: Sequence[str], sweep: str | None, wanted: Options, presentation: Presentation
) -> int:
    if sweep is not None:
        if runs:
            raise RequestError(f"--sweep={sweep} {' '.join(runs)}: give a sweep, or two runs")
        records = _records([_sweep_folder(sweep)])
        rows = within(records)
    else:
        if len(runs) != 2:
            raise RequestError(
                f"{' '.join(runs) or 'compare'}: give two runs, the reference first (a pattern of "
                "several runs in quotes), or --sweep with one sweep"
            )
        first, second = (_records(_paths(text)) for text in runs)
        records = [*first, *second]
        refuse_mixture(records)
        rows = matched(first, second)
        rows = [replace(row, reference_name=row.reference_name or runs[0]) for row in rows]
    refuse_mixture(records)
    results = [judge(row, wanted.limits) for row in rows]
    remarks = list[str]()
    if absent := left_out(rows, records):
        remarks.append(f"{absent} of {len(records)} runs have no partner, and are left out")
    return print_results(results, wanted, presentation, remarks)


def print_results(
    results: Sequence[Result],
    wanted: Options,
    presentation: Presentation,
    closing: Sequence[str] = (),
    *,
    live: bool = False,
) -> int:
    """Print the table and the lines below it; returns the exit code."""
    parts: list[Part] = comparison_parts(results, wanted.limits, live=live)
    code = exit_code_of(results, wanted)
    if wanted.slower is not None:
        answer = ("no", "yes", "cannot be decided")[code]
        parts.append(f"slower by more than {percent(wanted.slower)}: {answer}")
    show([*parts, *closing], "table", presentation, "the records hold all of it")
    return code


def exit_code_of(results: Sequence[Result], wanted: Options) -> int:
    """The exit code: that of the gate, or 2 if a comparison is invalid."""
    if wanted.slower is None:
        return 2 if any(each.comparison.change is Change.INVALID for each in results) else 0
    floor = wanted.limits.noise_floor
    gates = {gate(each.comparison, wanted.slower, floor) for each in results}
    if Gate.regression in gates:
        return Gate.regression.value
    return max((each.value for each in gates), default=Gate.undecided.value)


def _share(text: str) -> float:
    """A percentage as a share; RequestError for anything else."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?%?", text.strip())
    if not match or not 0 < float(match[1]) <= MOST_PERCENT:
        raise RequestError(f"{text}: not a percentage; give a number above 0, as in 1% or 0.5%")
    return float(match[1]) / 100


def _limit_of(text: str | None) -> float | None:
    """The limit of `--fail-on`."""
    if text is None:
        return None
    kind, _, value = text.partition(":")
    if kind != "slower" or not value:
        raise RequestError(f"--fail-on {text}: not allowed; give slower:PERCENT, as in slower:2%")
    return _share(value)


def _paths(text: str) -> list[Path]:
    """The paths that an argument names: itself, or what its pattern matches."""
    if Path(text).exists() or not glob.has_magic(text):
        return [Path(text)]
    root = Path(Path(text).anchor)
    paths = sorted(root.glob(str(Path(text).relative_to(root))), key=by_number)
    if not paths:
        raise RequestError(f"{text}: the pattern matches nothing; give runs, as in 'outputs/*/*/0'")
    return paths


def _sweep_folder(name: str) -> Path:
    """The folder of a sweep by its path, or by its name below outputs/."""
    if Path(name).exists():
        return Path(name)
    folders = [each.parent for each in OUTPUTS.glob(f"**/{glob.escape(name)}/{SWEEP_FILE}")]
    if len(folders) != 1:
        wrong = f"{len(folders)} sweeps of that name" if folders else "no such sweep"
        raise RequestError(f"--sweep={name}: {wrong}; give the folder of a sweep")
    return folders[0]


def _records(paths: Sequence[Path]) -> list[Record]:
    return [record for record, _ in load_runs(paths)]
