"""Print the table of stored runs again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.commands.attach_pictures import attach_timelines
from harness.commands.closing import OUTPUTS, relative
from harness.commands.draw_process import draw_each
from harness.commands.mlflow_runs import folder_of, named_runs, take_tracking
from harness.commands.parser import Parser, presentation_of
from harness.commands.pictures import of_stored
from harness.commands.stored import newest, unended
from harness.commands.terminal import Presentation, say, show
from harness.report.payoff import payoff_parts
from harness.report.run_lines import agreements, failures, lines_below
from harness.report.runs import table
from harness.report.tables import Part
from harness.results.find import SWEEP_FILE
from harness.results.record import Record
from harness.results.speedup import speedups
from harness.study.payoff import payoffs_of

HELP = "print the table of stored runs or of a sweep again"


def _parser() -> Parser:
    parser = Parser(
        "show",
        description="Print the table of stored runs again, from their records.",
        epilog="Example: python -m harness show outputs/2026-01-31/10-00-00-000000 --csv",
        tables=True,
    )
    parser.add_argument(
        "runs",
        nargs="*",
        type=Path,
        metavar="RUN_OR_SWEEP",
        help="folder of a run or of a sweep, a record.json, or the id of an MLflow run (the newest "
        "below outputs/)",
    )
    parser.add_argument(
        "--pictures",
        action="store_true",
        help="draw each timeline.png and curves.png again; add timelines to the runs of a local "
        "MLflow store",
    )
    return parser


def run_parts(
    records: Sequence[Record],
    folders: Sequence[Path],
    presentation: Presentation,
    *,
    apart: bool = False,
) -> list[Part]:
    """The table of runs and the lines below it; with `-q`, of the lines only why runs failed.

    With `-v` the table is detailed, and a single run has a table of what more depth, a larger batch
    or more columns would save; kernels with a tolerance have a line of how close outputs are.
    apart: as in `table`.
    """
    here = Path.cwd()
    paths = [relative(folder, here) for folder in folders]
    detailed = presentation.verbose
    rows = table(
        records,
        speedups(records),
        paths,
        apart=apart,
        detailed=detailed,
        whole=presentation.form in ("csv", "json"),
    )
    if presentation.quiet:
        return [rows, *failures(records)]
    parts: list[Part] = [rows, *lines_below(records)]
    if detailed:
        parts += dict.fromkeys(line for record in records for line in agreements(record))
    if detailed and presentation.for_readers and len(records) == 1:
        parts += payoff_parts(payoffs_of(records[0]))
    return parts


def show_runs(
    runs: Sequence[tuple[Record, Path]],
    presentation: Presentation,
    *closing: str,
    apart: bool = False,
) -> None:
    """Print the table of runs; closing: lines for readers that end the output.

    apart: as in `table`.
    """
    records = [record for record, _ in runs]
    parts = run_parts(records, [folder for _, folder in runs], presentation, apart=apart)
    if presentation.for_readers:
        parts += closing
    show(parts, "table", presentation, "the records hold all of it", lines=True)


def main(arguments: Sequence[str]) -> int:
    """Read the records and print their table."""
    # Intermixed: flags may stand between folders, as shells complete them.
    rest, tracking = take_tracking(arguments, "show")
    options = _parser().parse_intermixed_args(rest)
    presentation = presentation_of(options)
    paths, remarks, closing = options.runs, list[str](), list[str]()
    if not paths:
        folder, remarks = newest(OUTPUTS)
        paths, closing = [folder], [f"results: {folder}"]
    runs = named_runs(paths, tracking)
    # One path may be the id of a sweep.
    folders = paths if len(paths) > 1 else [folder_of(paths[0], runs)]
    remarks += [f"{folder}: {line}" for folder in folders for line in unended(folder)]
    for line in remarks:
        say(line)
    # The swept keys tell the rows of one sweep apart, those of earlier runs too.
    one_sweep = len(folders) == 1 and (folders[0] / SWEEP_FILE).is_file()
    undrawn = list[str]()
    if options.pictures:
        pictures = of_stored(folders[0] if one_sweep else None, runs)
        drawn = list[Path]()
        for each, message in zip(pictures, draw_each(pictures), strict=True):
            (undrawn if message else closing).append(message or f"written: {each.path}")
            drawn += [] if message else [each.path]
        added, failed = attach_timelines(runs, drawn)
        closing, undrawn = closing + added, undrawn + failed
    show_runs(runs, presentation, *closing, apart=len(runs) > 1 and not one_sweep)
    for line in undrawn:
        say(line)
    return 1 if undrawn else 0
