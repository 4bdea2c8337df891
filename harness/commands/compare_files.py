"""The files of a comparison: its table as Markdown and JSON, and its forest plot."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from harness.commands.compare_result import Options
from harness.commands.whole_file import write_whole
from harness.errors import HarnessError, RequestError
from harness.report.comparison import comparison_parts, comparison_sheet
from harness.report.pictures.forest import FILE_NAME, save_forest
from harness.report.tables import Format, formatted
from harness.study.comparison import Result
from harness.study.forest import forest
from harness.tracking.notes import COMPARISON

PICTURE_FLAG = "--picture"


def write_comparison(results: Sequence[Result], wanted: Options, folder: Path) -> None:
    """Write `comparison.md`, `comparison.json` and `comparison.png`; OSError where that fails.

    The report of the sweep in MLflow takes them from there.
    """
    if not results:
        return
    parts = comparison_parts(results, wanted.limits, wanted.floor, live=True)
    texts = {
        "md": formatted(parts, Format.markdown),
        "json": formatted([comparison_sheet(results, wanted.limits)], Format.json),
    }
    for ending, text in texts.items():
        write_whole(folder / f"{COMPARISON}.{ending}", text)
    save_forest(forest(results, wanted.limits), folder / FILE_NAME)


def picture_file(name: str | None) -> Path | None:
    """The file for the picture; RequestError for one that cannot be a PNG in a folder."""
    if name is None:
        return None
    path = Path(name)
    if path.suffix != ".png" or path.is_dir():
        raise RequestError(f"{PICTURE_FLAG} {name}: not a picture; give a file as in forest.png")
    if not path.parent.is_dir():
        raise RequestError(f"{PICTURE_FLAG} {name}: no folder {path.parent}; create it first")
    return path


def write_picture(results: Sequence[Result], wanted: Options, path: Path) -> None:
    """Write the forest plot of stored runs; HarnessError where that fails."""
    try:
        with suppress(ValueError):
            save_forest(forest(results, wanted.limits), path)
    except OSError as error:
        raise HarnessError(
            f"{PICTURE_FLAG} {path}: cannot be written ({error.strerror}); give another file"
        ) from error
