"""Compare stored runs, or run several settings in turns, and give a verdict with its certainty."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from harness.commands.closing import OUTPUTS
from harness.commands.compare_files import PICTURE_FLAG, picture_file, write_picture
from harness.commands.compare_live import CompareInvocation
from harness.commands.compare_result import (
    Options,
    exit_code_of,
    options_of,
    print_results,
    take_flags,
    take_pairs,
    with_floor,
)
from harness.commands.hydra_argv import check_config_dir, config_dir, take_presentation
from harness.commands.mlflow_runs import is_override, is_run_id, located, named_runs, take_tracking
from harness.commands.parser import Parser, presentation_of
from harness.commands.terminal import Presentation, say
from harness.errors import HarnessError, RequestError
from harness.measure.comparison import THRESHOLD
from harness.report.comparison import percent
from harness.report.pictures.forest import FILE_NAME as PICTURE
from harness.results.find import SWEEP_FILE, by_number
from harness.results.record import Record
from harness.study.comparison import Row, judge, left_out, matched, refuse_mixture, within
from harness.study.pair_plan import PairPlan

HELP = "compare runs: the ratio of their times, and how sure it is"
DEFAULT_PAIRS = 10
SWEEP, THRESHOLD_FLAG, FAIL_ON = "--sweep", "--threshold", "--fail-on"
EPILOG = """\
RUN_A is the reference. A pattern in quotes names several runs, of which those with the same
setting are paired in the order of their creation. With overrides, of which a key has several
values, these settings run in turns, the first being the reference; pairs=N: how often (10).
Exit codes: 0; 2 if a comparison is INVALID. With --fail-on: 0 within the limit, 1 beyond it,
2 undecided or invalid.
Examples: python -m harness compare strategy=baseline,pipelined pairs=10 device=hardware;
python -m harness compare outputs/2026-01-31/10-00-00-000000 outputs/2026-02-01"""


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
        help="folders of runs or sweeps, record.json files, patterns of these, or ids of MLflow "
        "runs; or overrides",
    )
    parser.add_argument(
        SWEEP, metavar="ID", help="compare the settings of one sweep: its folder, name or MLflow id"
    )
    parser.add_argument(
        THRESHOLD_FLAG,
        metavar="PERCENT",
        help=f"smallest difference that counts ({percent(THRESHOLD)}%)",
    )
    parser.add_argument(
        FAIL_ON,
        metavar="slower:PERCENT",
        help="exit with 1 if a candidate is slower by more than that",
    )
    parser.add_argument(
        PICTURE_FLAG, metavar="FILE.png", help="draw the ratios with their intervals and verdicts"
    )
    return parser


def main(arguments: Sequence[str]) -> int:
    """Compare and print; returns the exit code."""
    if not {"--help", "-h"} & set(arguments) and _is_live(arguments):
        return _compare_live(arguments)
    rest, tracking = take_tracking(arguments, "compare")
    options = _parser().parse_intermixed_args(rest)
    wanted = options_of(options.threshold, options.fail_on)
    wanted = replace(wanted, picture=picture_file(options.picture))
    return _compare_stored(options.runs, options.sweep, tracking, wanted, presentation_of(options))


def _is_live(arguments: Sequence[str]) -> bool:
    """Whether there are overrides; those of the store may also belong to ids of MLflow runs."""
    overrides = [each for each in arguments if is_override(each)]
    return bool(overrides) and not any(map(is_run_id, arguments))


def _compare_live(arguments: Sequence[str]) -> int:
    check_config_dir(config_dir(arguments))
    rest, presentation = take_presentation(arguments)
    rest, flags = take_flags(rest, (THRESHOLD_FLAG, FAIL_ON, SWEEP, PICTURE_FLAG))
    if SWEEP in flags:
        raise RequestError(f"{SWEEP} {flags[SWEEP]}: a stored sweep; leave overrides out")
    if PICTURE_FLAG in flags:
        raise RequestError(
            f"{PICTURE_FLAG} {flags[PICTURE_FLAG]}: only for stored runs; with overrides the "
            f"folder of the results has {PICTURE}"
        )
    wanted = options_of(flags.get(THRESHOLD_FLAG), flags.get(FAIL_ON))
    rest, pairs = take_pairs(rest, DEFAULT_PAIRS)
    return CompareInvocation(["-m", *rest], presentation, rounds=pairs, wanted=wanted).execute()


def _compare_stored(
    runs: Sequence[str],
    sweep: str | None,
    tracking: Sequence[str],
    wanted: Options,
    presentation: Presentation,
) -> int:
    if sweep is not None:
        if runs:
            raise RequestError(f"--sweep={sweep} {' '.join(runs)}: give a sweep, or two runs")
        rows, records = _rows_of_sweep(_sweep_folder(sweep, tracking), tracking)
    else:
        if len(runs) != 2:
            raise RequestError(
                f"{' '.join(runs) or 'compare'}: give two runs, the reference first (a pattern of "
                "several runs in quotes), or --sweep with one sweep"
            )
        first, second = (_records(_paths(text), tracking) for text in runs)
        records = [*first, *second]
        refuse_mixture(records)
        rows = [replace(row, reference_name=runs[0]) for row in matched(first, second)]
    wanted, doubt = with_floor(wanted, rows)
    if doubt:
        say(doubt)
    results = [judge(row, wanted.limits) for row in rows]
    remarks = left_out(rows, records)
    failure = ""
    if wanted.picture:
        failure = write_picture(results, wanted, wanted.picture)
        remarks += [] if failure else [f"picture: {wanted.picture}"]
    print_results(results, wanted, presentation, remarks)
    if failure:
        raise HarnessError(failure)
    return exit_code_of(results, wanted)


def _rows_of_sweep(folder: Path, tracking: Sequence[str]) -> tuple[list[Row], list[Record]]:
    """The rows of a sweep, and its runs; runs that alternated are paired as they did."""
    runs = named_runs([folder], tracking)
    records = [record for record, _ in runs]
    refuse_mixture(records)
    if plan := PairPlan.load(folder):
        return plan.rows({path.name: record for record, path in runs}), records
    return within(records), records


def _paths(text: str) -> list[Path]:
    """The paths that an argument names: itself, or what its pattern matches."""
    if Path(text).exists() or not glob.has_magic(text):
        return [Path(text)]
    root = Path(Path(text).anchor)
    paths = sorted(root.glob(str(Path(text).relative_to(root))), key=by_number)
    if not paths:
        raise RequestError(f"{text}: the pattern matches nothing; give runs, as in 'outputs/*/*/0'")
    return paths


def _sweep_folder(name: str, tracking: Sequence[str]) -> Path:
    """The folder of a sweep by its path, its name below outputs/, or the id of its MLflow run.

    Where the folder of that run is gone, its id takes the place of the folder.
    """
    if is_run_id(name):
        folders = located(name, tracking).folders
        return folders[0] if len(folders) == 1 else Path(name)
    if Path(name).exists():
        return Path(name)
    folders = [each.parent for each in OUTPUTS.glob(f"**/{glob.escape(name)}/{SWEEP_FILE}")]
    if len(folders) != 1:
        wrong = f"{len(folders)} sweeps of that name" if folders else "no such sweep"
        raise RequestError(f"--sweep={name}: {wrong}; give the folder of a sweep")
    return folders[0]


def _records(paths: Sequence[Path], tracking: Sequence[str]) -> list[Record]:
    return [record for record, _ in named_runs(paths, tracking)]
