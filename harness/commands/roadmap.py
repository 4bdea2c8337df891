"""Report what each phase of the programme has measured, from the stored records alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from harness.commands.parser import Parser, composed
from harness.commands.terminal import output, say, show
from harness.config.schema import Tracking, TrackingKind
from harness.errors import RequestError
from harness.report.roadmap import parts, save_picture
from harness.report.tables import text
from harness.results.record import write_json
from harness.study.roadmap import ACCOUNTINGS, Roadmap, read, roadmap
from harness.tracking import mlflow as tracking

HELP = "table and picture of what each phase has measured"
RUN_NAME = "roadmap"


def _parser() -> Parser:
    parser = Parser(
        "roadmap",
        description="Table and picture of the phases: measured RTF, the guide's, the ceiling, what "
        "binds. Written beside the records as roadmap.txt, .png and .json, and filed in MLflow.",
    )
    folder = Path("outputs")
    parser.add_argument(
        "--outputs", metavar="FOLDER", type=Path, default=folder, help="of the runs (%(default)s)"
    )
    parser.add_argument(
        "--json", action="store_true", help="print roadmap.json in place of the table"
    )
    parser.add_argument(
        "overrides", nargs="*", help="of tracking, as of python -m harness: tracking=off ..."
    )
    return parser


def _tracking(overrides: Sequence[str]) -> Tracking:
    """Where to file the roadmap; RequestError for what is no override of tracking."""
    for override in overrides:
        if override.lstrip("+~").partition("=")[0].split(".")[0] != "tracking":
            raise RequestError(
                f"{override}: a roadmap is made of what was run; only tracking can be given"
            )
    return composed(*overrides).tracking


def _written(found: Roadmap, folder: Path) -> list[Path]:
    path = folder / "roadmap.txt"
    path.write_text(text(parts(found)))
    return [path, save_picture(found, folder), write_json(folder / "roadmap.json", asdict(found))]


def _filed(found: Roadmap, paths: Sequence[Path], wanted: Tracking) -> None:
    if wanted.kind is TrackingKind.off:
        return
    store = tracking.open_store(wanted.uri, wanted.artifacts, wanted.experiment, Path.cwd())
    measured = {(row.phase, kind): getattr(row, kind) for row in found.rows for kind in ACCOUNTINGS}
    metrics = {f"rtf/{phase}_{kind}": each.rtf for (phase, kind), each in measured.items() if each}
    store.file(RUN_NAME, paths, metrics, {"device": found.device, "model": found.model})


def main(arguments: Sequence[str]) -> int:
    """Read the records, write the roadmap beside them, file it in MLflow and print it."""
    asked = _parser().parse_intermixed_args(arguments)
    wanted = _tracking(asked.overrides)
    if not asked.outputs.is_dir():
        raise RequestError(
            f"--outputs={asked.outputs}: no such folder; give the one that runs were written to"
        )
    found = roadmap(*read(asked.outputs))
    code = 0
    try:
        paths = _written(found, asked.outputs)
    except OSError as error:
        say(f"the roadmap cannot be written ({error}); free space or give another --outputs")
        paths, code = [], 1
    try:
        if paths:
            _filed(found, paths, wanted)
    except tracking.TrackingError as error:
        say(f"{error}; the roadmap is written, but not in MLflow (tracking=off does without)")
        code = 1
    if asked.json:
        with output("roadmap"):
            print(json.dumps(asdict(found), indent=2))
    else:
        show([*parts(found), *(f"written: {path}" for path in paths)], "roadmap")
    return code
