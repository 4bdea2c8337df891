"""Print what each phase of the guide has measured, from stored records."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from harness.commands.draw_process import failure
from harness.commands.open_store import open_store, tracking_of
from harness.commands.parser import Parser, presentation_of
from harness.commands.terminal import Messages, output, say, show
from harness.errors import RequestError
from harness.report.pictures.files import save
from harness.report.pictures.roadmap import RoadmapPicture
from harness.report.roadmap import parts
from harness.report.tables import Format, formatted
from harness.results.whole_file import write_json, write_text
from harness.study.roadmap import ACCOUNTINGS, Roadmap, read, roadmap
from harness.tracking.store import Store, TrackingError, backend_of

HELP = "print and draw the results of each phase"
RUN_NAME = "roadmap"


def _parser() -> Parser:
    parser = Parser(
        "roadmap",
        description="Print and draw the phases: measured RTF, the guide's RTF, the ceiling, "
        "and what limits each phase. Writes roadmap.txt, roadmap.png and roadmap.json to FOLDER, "
        "and stores them in MLflow. With --json: the content of roadmap.json.",
        tables=True,
    )
    parser.add_argument(
        "--outputs",
        metavar="FOLDER",
        type=Path,
        default=Path("outputs"),
        help="folder of the runs (%(default)s)",
    )
    parser.add_argument(
        "overrides", nargs="*", help="overrides of tracking, as a run takes them: tracking=off ..."
    )
    return parser


def _write(results: Roadmap, folder: Path) -> list[Path]:
    path = write_text(folder / "roadmap.txt", formatted(parts(results), Format.text))
    paths = [path, write_json(folder / "roadmap.json", asdict(results))]
    picture = RoadmapPicture(folder, results)
    try:
        paths.insert(1, save(picture))
    except ImportError as error:  # no matplotlib, or a broken one
        say(failure(picture, error))
    return paths


def _store(results: Roadmap, paths: Sequence[Path], store: Store) -> None:
    metrics = {}
    for row in results.rows:
        for kind in ACCOUNTINGS:
            if measured := getattr(row, kind):
                metrics[f"rtf/{row.phase}_{kind}"] = measured.rtf
    store.file(RUN_NAME, paths, metrics, {"device": results.device, "model": results.model})


def main(arguments: Sequence[str]) -> int:
    """Read the records, write the roadmap beside them, store it in MLflow and print it."""
    options = _parser().parse_intermixed_args(arguments)
    presentation, wanted = (
        presentation_of(options),
        tracking_of(options.overrides, "a roadmap reads"),
    )
    backend = backend_of(wanted)
    if not options.outputs.is_dir():
        raise RequestError(
            f"--outputs={options.outputs}: no such folder; give the folder that holds the runs"
        )
    results = roadmap(*read(options.outputs))
    code = 0
    try:
        # Before MLflow: the files stay if the store fails.
        paths = _write(results, options.outputs)
    except OSError as error:
        say(f"the roadmap cannot be written ({error}); free space or give another --outputs")
        paths, code = [], 1
    try:
        if paths and backend:
            remark = Messages(presentation.quiet).remark
            _store(results, paths, open_store(backend, wanted, Path.cwd(), remark))
    except TrackingError as error:
        say(f"{error}; the roadmap is written, but not in MLflow (tracking=off leaves MLflow out)")
        code = 1
    if presentation.form == "json":
        with output("roadmap"):
            print(json.dumps(asdict(results), indent=2))
        return code
    written = [f"written: {path}" for path in paths] if presentation.for_readers else []
    show([*parts(results), *written], "roadmap", presentation)
    return code
