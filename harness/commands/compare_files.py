"""The files of a comparison: its table as Markdown and JSON, and its forest plot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.commands.compare_result import Options
from harness.errors import RequestError
from harness.report.comparison import comparison_parts, comparison_sheet
from harness.report.pictures.files import save
from harness.report.pictures.forest import FILE_NAME, ForestPicture
from harness.report.tables import Format, formatted
from harness.results.whole_file import write_text
from harness.study.comparison import Result
from harness.study.forest import forest
from harness.tracking.notes import COMPARISON

PICTURE_FLAG = "--picture"


def write_comparison(results: Sequence[Result], wanted: Options, folder: Path) -> None:
    """Write `comparison.md` and `comparison.json`; OSError where that fails.

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
        write_text(folder / f"{COMPARISON}.{ending}", text)


def comparison_pictures(
    results: Sequence[Result], wanted: Options, folder: Path
) -> list[ForestPicture]:
    """`comparison.png` in the folder of a comparison; none without results."""
    if not results:
        return []
    return [ForestPicture(folder / FILE_NAME, forest(results, wanted.limits))]


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


def write_picture(results: Sequence[Result], wanted: Options, path: Path) -> str:
    """Write the forest plot of stored runs; returns why that fails, empty if it does not."""
    try:
        save(ForestPicture(path, forest(results, wanted.limits)))
    except Exception as error:  # also what a broken matplotlib raises
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        reason = reason or type(error).__name__
        return f"{PICTURE_FLAG} {path}: cannot be written ({reason}); give another file"
    return ""
