"""The forest plot of a comparison: what it shows, how large it is, and whole files only."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from harness.measure.comparison import Change
from harness.report.pictures.files import save
from harness.report.pictures.forest import MOST_ROWS, ForestPicture, draw
from harness.report.pictures.style import DPI
from harness.study.forest import Forest, ForestRow

FASTER = ForestRow("a=$1$", "", 0.9, 0.88, 0.92, False, 9, Change.FASTER, "")
EXACT = ForestRow("b=2", "", 1.2, 1.2, 1.2, True, 1, Change.SLOWER, "")
FEW = ForestRow("c=3", "", 1.02, None, None, False, 2, Change.UNDECIDED, "2 of at least 5 pairs")
INVALID = ForestRow("d=4", "", None, None, None, False, 3, Change.INVALID, "not all runs are OK")


def figure_of(rows: tuple[ForestRow, ...], noise_floor: float = 0.0) -> Figure:
    return draw(Forest(rows, "x=1", 0.01, noise_floor))


def size(path: Path) -> tuple[int, int]:
    """Width and height of a PNG, in pixels."""
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG")
    width, height = struct.unpack(">II", content[16:24])
    return width, height


def test_each_row_has_its_verdict_as_text() -> None:
    figure = figure_of((FASTER, EXACT, FEW, INVALID), noise_floor=0.03)
    (axes,) = figure.axes
    assert [each.get_text() for each in axes.get_yticklabels()] == [r"a=\$1\$", "b=2", "c=3", "d=4"]
    (right,) = axes.child_axes
    assert [each.get_text() for each in right.get_yticklabels()] == [
        "0.900  [0.880, 0.920]  FASTER",
        "1.200  exact  SLOWER",
        "1.020  2 pairs  UNDECIDED",
        "INVALID",
    ]
    assert "INVALID: not all runs are OK" in {each.get_text() for each in axes.texts}
    assert axes.get_xscale() == "log"
    low, high = axes.get_xlim()
    assert low < 0.88 < 1.2 < high
    (legend,) = figure.legends
    assert [each.get_text() for each in legend.get_texts()] == [
        "difference of at most 1 % (threshold)",
        "noise floor of equal runs, 3 %",
        "95 % interval of the ratio",
    ]
    whiskers = [line for line in axes.lines if list(line.get_xdata()) == [0.88, 0.92]]
    assert len(whiskers) == 1
    points = [line.get_xdata()[0] for line in axes.lines if line.get_marker() in "<>o"]
    assert points == [0.9, 1.2, 1.02], "an exact row is a point, an invalid one none"


def test_a_long_comparison_has_a_bounded_size(tmp_path: Path) -> None:
    path = save(ForestPicture(tmp_path / "one.png", Forest((EXACT,), "x=1", 0.01, 0)))
    width, height = size(path)
    assert (width, height < 300) == (1200, True)
    figure = figure_of((EXACT,) * (MOST_ROWS + 40))
    assert figure.get_suptitle() == "Time / time of x=1 (the first 200 of 240 rows)"
    assert figure.get_figwidth() * DPI == width
    assert figure.get_figheight() * DPI < 6500


def test_a_name_that_the_font_lacks_is_no_warning(tmp_path: Path) -> None:
    row = replace(EXACT, name="\N{CJK UNIFIED IDEOGRAPH-4E00}")
    picture = ForestPicture(tmp_path / "one.png", Forest((row,), "x=1", 0.01, 0))
    content = save(picture).read_bytes()
    assert b"matplotlib" not in content.lower(), "another version of it gives the same file"


def test_a_failure_leaves_no_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def savefig(self: Figure, path: Path, **_: object) -> None:
        path.write_text("part")
        raise OSError("no space")

    monkeypatch.setattr(Figure, "savefig", savefig)
    with pytest.raises(OSError, match="no space"):
        save(ForestPicture(tmp_path / "one.png", Forest((EXACT,), "x=1", 0.01, 0)))
    assert list(tmp_path.iterdir()) == []
