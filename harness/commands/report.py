"""Write one HTML page about stored runs."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from harness.commands.closing import OUTPUTS, relative
from harness.commands.compare_result import options_of, with_floor
from harness.commands.mlflow_runs import folder_of, is_run_id, named_runs, take_tracking
from harness.commands.parser import Parser
from harness.commands.resume import Run
from harness.commands.stored import newest, unended
from harness.commands.terminal import output, say
from harness.errors import HarnessError, RequestError
from harness.report.page.build import comparison_of, no_comparison, page_of
from harness.report.page.page import GENERATOR, Comparison, html, require_plotly
from harness.results.find import SWEEP_FILE
from harness.results.record import FILE_NAME as RECORD_NAME
from harness.results.whole_file import write_text
from harness.study.comparison import Row, left_out, refuse_mixture, within
from harness.study.pair_plan import PairPlan

HELP = "write a run or a sweep as one HTML page, with interactive charts"
FILE_NAME = "report.html"
BEGIN_CHARACTERS = 1000
"""Beginning of a page in which its GENERATOR stands."""
EPILOG = """\
The page needs no network and no other file. It has the table, a timeline to zoom, curves, the
comparison with the first run, hazards, the configuration and the environment.
Example: python -m harness report outputs/2026-01-31/10-00-00-000000 --out sweep.html"""


def _parser() -> Parser:
    parser = Parser("report", "Write one HTML page about a run or a sweep.", EPILOG)
    parser.add_argument(
        "run",
        nargs="?",
        metavar="RUN_OR_SWEEP",
        help="folder of a run or of a sweep, its name, a record.json, or the id of an MLflow run "
        "(the newest below outputs/)",
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help=f"the page ({FILE_NAME} in that folder)"
    )
    return parser


def main(arguments: Sequence[str]) -> int:
    """Read the records and write the page."""
    rest, tracking = take_tracking(arguments, "report")
    options = _parser().parse_intermixed_args(rest)
    require_plotly()
    if options.run is None:
        path, remarks = newest(OUTPUTS)
    else:
        path, remarks = _named(options.run), []
    runs = named_runs([path], tracking)
    folder = folder_of(path, runs)
    if options.out is None and not folder.is_dir():
        raise RequestError(f"{path}: only MLflow has this record; give --out=FILE for the page")
    out = folder / FILE_NAME if options.out is None else options.out
    _check(out)
    for line in remarks:
        say(line)
    here, name = Path.cwd(), folder.resolve().name  # "." has no name
    page = page_of(
        runs,
        [relative(each, here) for _, each in runs],
        f"Sweep {name}" if (folder / SWEEP_FILE).is_file() else f"Runs of {name}",
        unended(folder),
        _comparison(runs, folder) if len(runs) > 1 else None,
    )
    size = _write(out, html(page))
    with output("path of the report", "the page is written"):
        print(f"report: {relative(out, here)} ({size / 1e6:.1f} MB; open it in a browser)")
    return 0


def _named(text: str) -> Path:
    """The path of a run or of a sweep: itself, its name below outputs/, or an id of MLflow."""
    if Path(text).exists() or is_run_id(text):
        return Path(text)
    names = (SWEEP_FILE, RECORD_NAME)
    below = [each for name in names for each in OUTPUTS.glob(f"**/{glob.escape(text)}/{name}")]
    folders = sorted({each.parent for each in below})
    if len(folders) != 1:
        wrong = f"{len(folders)} runs or sweeps have that name" if folders else "no such folder"
        raise RequestError(f"{text}: {wrong}; give the folder of a run or of a sweep")
    return folders[0]


def _check(out: Path) -> None:
    """RequestError unless a page may be written there: nothing but an older page is replaced."""
    if not out.parent.is_dir():
        raise RequestError(f"--out={out}: no folder {out.parent}; create it, or choose another")
    if out.is_dir():
        raise RequestError(
            f"--out={out}: a folder; give the name of a file, as in {out / FILE_NAME}"
        )
    try:
        with out.open(encoding="utf-8", errors="replace") as file:
            is_page = GENERATOR in file.read(BEGIN_CHARACTERS)
    except FileNotFoundError:
        return
    except OSError as error:
        raise RequestError(f"--out={out}: cannot be read ({error.strerror})") from error
    if not is_page:
        raise RequestError(f"--out={out}: exists and is no report; choose another, or remove it")


def _comparison(runs: Sequence[Run], folder: Path) -> Comparison:
    """The comparison of the settings of a sweep, or why there is none."""
    records = [record for record, _ in runs]
    try:
        refuse_mixture(records)
        plan = PairPlan.load(folder)
        by_name = {path.name: record for record, path in runs}
        rows: Sequence[Row] = plan.rows(by_name) if plan else within(records)
        wanted, doubt = with_floor(options_of(None, None), rows)
    except RequestError as error:
        return no_comparison(error)
    comparison = comparison_of(rows, wanted.limits, wanted.floor)
    lines = [*left_out(rows, records), *[doubt] * bool(doubt)]
    return replace(comparison, parts=[*comparison.parts, *lines])


def _write(path: Path, text: str) -> int:
    """Write the page, whole or not at all, and return its size in bytes; HarnessError."""
    try:
        return write_text(path, text).stat().st_size
    except OSError as error:
        raise HarnessError(
            f"{path}: the report cannot be written ({error.strerror}); free space, or choose "
            "another --out"
        ) from error
