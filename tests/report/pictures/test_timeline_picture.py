"""The picture of a pass: each span of the timeline at its place, stalls, names, long passes."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import same_color
from matplotlib.figure import Figure

from harness.measure.timeline import DEVICE_WORK, Stage, Timeline
from harness.measure.totals import stalls
from harness.report.pictures.files import save
from harness.report.pictures.strips import MOST_SUBMISSIONS, strips
from harness.report.pictures.style import STAGE_COLOURS
from harness.report.pictures.timeline import TimelinePicture, draw
from harness.report.trace import shown_tiles, trace

RECORD = {"name": "pooled d1 b1 c1 attention", "device": "simulator", "verdict": "OK"}
KERNELS = ("attention", "gelu")
Places = dict[str, list[tuple[int, int]]]


def chain(tiles: int = 6, columns: int = 2, has_device: bool = True) -> Timeline:
    """A pass through KERNELS with lengths that differ from tile to tile, and stalls."""
    rows, now = [], 0
    for tile in range(tiles):
        for kernel in range(len(KERNELS)):
            lengths = [3 + tile, 5 + kernel, 40 * (1 + (tile == 3)), 2]
            ends = np.cumsum([now, *lengths]).tolist()
            column = tile % columns
            for stage, begin, end in zip(
                (Stage.WRITE, Stage.LAUNCH, Stage.WAIT, Stage.READ), ends, ends[1:], strict=False
            ):
                rows.append((stage, tile, 1, column, begin, end, kernel))
            if has_device:
                rows.append((Stage.EXEC, tile, 1, column, ends[2] + 1, ends[3] - 1, kernel))
            now = ends[-1]
    both = (columns,) * len(KERNELS)
    return Timeline(np.array(rows, np.int64), tiles, both, "virtual", has_device, KERNELS)


def serial(tiles: int, slow: range, batch: int = 1) -> Timeline:
    """A serial pass of one column; the tiles in `slow` take ten times as long."""
    rows, now = [], 0
    for tile in range(0, tiles, batch):
        end = now + (100 if tile in slow else 10)
        rows.append((Stage.WRITE, tile, batch, 0, now, now + 2, 0))
        rows.append((Stage.LAUNCH, tile, batch, 0, now + 2, now + 3, 0))
        rows.append((Stage.READ, tile, batch, 0, end - 2, end, 0))
        step = (end - now - 5) // batch
        for place in range(batch):
            begin = now + 3 + place * step
            rows.append((Stage.EXEC, tile + place, 1, 0, begin, begin + step, 0))
        now = end
    return Timeline(np.array(rows, np.int64), tiles, (1,), "virtual", True, ("attention",))


def picture(timeline: Timeline, **record: str) -> Figure:
    # As JSON, because that is what a picture is drawn from.
    return draw(strips(json.loads(json.dumps(trace(timeline, "t"))), RECORD | record))


def places(axes: Axes) -> Places:
    """Begin and end in ns of what is drawn, by row and stage."""
    found: Places = {}
    for each in axes.collections:
        extents = [path.get_extents().get_points()[:, 0] * 1e6 for path in each.get_paths()]
        found[str(each.get_label())] = [(round(begin), round(end)) for begin, end in extents]
    return found


def expected(timeline: Timeline) -> Places:
    """The same from the timeline."""
    rows: Places = defaultdict(list)
    for code, _, _, column, begin, end, kernel in timeline.rows.tolist():
        stage = Stage(code)
        several = len(timeline.kernels) > 1
        device = f"column {column}" + f" {timeline.kernels[kernel]}" * several
        row = device if stage in DEVICE_WORK else "host"
        rows[f"{row}: {stage.name.lower()}"].append((begin, end))
    found = stalls(timeline)
    for column, begin, end in [] if found is None else found[:, :3].tolist():
        rows[f"column {column}: stall"].append((begin, end))
    return {key: sorted(each) for key, each in rows.items()}


@pytest.mark.parametrize("columns", [1, 2])
def test_each_span_and_stall_is_at_its_place(columns: int) -> None:
    timeline = chain(columns=columns)
    figure = picture(timeline)
    (axes,) = figure.axes
    assert places(axes) == expected(timeline)
    rows = [f"column {column} {kernel}" for column in range(columns) for kernel in KERNELS]
    assert [each.get_text() for each in axes.get_yticklabels()] == ["host", *rows]
    low, high = (round(each * 1e6) for each in axes.get_xlim())
    assert (low, high) == (timeline.rows[:, 4].min(), timeline.rows[:, 5].max())
    for each in axes.collections:
        stage = str(each.get_label()).rpartition(": ")[2].upper()
        if stage in Stage.__members__:
            assert same_color(each.get_facecolor()[0], STAGE_COLOURS[Stage[stage]])


def test_a_row_is_where_its_name_is() -> None:
    (axes,) = picture(chain()).axes
    names = [each.get_text() for each in axes.get_yticklabels()]
    for each in axes.collections:
        row, _, stage = str(each.get_label()).rpartition(": ")
        top, bottom = each.get_paths()[0].get_extents().get_points()[:, 1]
        # A stall is one of a column, and covers the rows of its kernels.
        begin = f"{row} " if stage == "stall" else row
        covered = [name for name in names if name.startswith(begin)]
        assert [names.index(covered[0]) - 0.4, names.index(covered[-1]) + 0.4] == pytest.approx(
            [top, bottom]
        )


def keys(figure: Figure) -> list[str]:
    return [each.get_text() for each in figure.legends[0].get_texts()]


def test_the_legend_names_what_occurs() -> None:
    stages = ["write", "launch", "wait", "read", "exec"]
    *names, last = keys(picture(chain()))
    assert names == stages
    found = stalls(chain())
    assert found is not None
    total_ms = (found[:, 2] - found[:, 1]).sum() / 1e6
    assert last == f"stall ({len(found)} here, {total_ms:.2f} ms)"
    assert keys(picture(chain(has_device=False))) == stages[:-1]


def test_without_device_timestamps_there_is_the_host_only() -> None:
    timeline = chain(has_device=False)
    (axes,) = picture(timeline).axes
    assert [each.get_text() for each in axes.get_yticklabels()] == ["host"]
    assert places(axes) == expected(timeline)


def test_of_a_long_pass_the_first_and_the_slowest_stretch_are_shown() -> None:
    half = MOST_SUBMISSIONS // 2
    timeline = serial(200, slow=range(150, 153))
    figure = picture(timeline)
    first, slowest = figure.axes
    assert first.get_title("left") == f"tiles 0 to {half - 1} of 200: the first"
    text = slowest.get_title("left")
    assert text.endswith(" of 200: the slowest")
    begin, end = (int(text.split()[place]) for place in (1, 3))
    assert begin <= 150
    assert end >= 152
    assert end - begin == half - 1
    for axes, tiles in ((first, range(half)), (slowest, range(begin, end + 1))):
        own = [row for row in timeline.rows.tolist() if row[1] in tiles]
        of = Timeline(np.array(own), 200, (1,), "virtual", True, ("attention",))
        shown = {key: each for key, each in places(axes).items() if "stall" not in key}
        assert shown == {key: each for key, each in expected(of).items() if "stall" not in key}


def test_of_batches_submissions_are_counted() -> None:
    (axes,) = picture(serial(40, slow=range(0), batch=4)).axes
    assert axes.get_title("left") == ""
    first, slowest = picture(serial(400, slow=range(200, 204), batch=4)).axes
    tiles = 4 * MOST_SUBMISSIONS // 2
    assert first.get_title("left") == f"tiles 0 to {tiles - 1} of 400: the first"
    assert "of 400: the slowest" in slowest.get_title("left")


def test_if_no_stretch_is_slower_only_the_first_is_shown() -> None:
    (axes,) = picture(serial(200, slow=range(0))).axes
    last = MOST_SUBMISSIONS - 1
    assert axes.get_title("left") == f"tiles 0 to {last} of 200: no other stretch is slower"


def test_what_a_trace_leaves_out_is_not_taken_for_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shown_tiles, "__defaults__", (80,))
    content = trace(serial(1_000, slow=range(500, 502)), "t")
    kept = {each["args"]["tile"] for each in content["traceEvents"] if each.get("cat") == "exec"}
    assert len(kept) <= 80
    _, slowest = draw(strips(content, RECORD)).axes
    begin, end = (int(slowest.get_title("left").split()[place]) for place in (1, 3))
    assert begin <= 500 <= 501 <= end
    assert set(range(begin, end + 1)) <= kept


def test_the_numbers_of_tiles_are_in_their_bars() -> None:
    (axes,) = picture(serial(4, slow=range(0))).axes
    assert [each.get_text() for each in axes.texts] == ["0", "1", "2", "3"]
    # No room for the first: 5 ns of more than 1,000.
    (axes,) = picture(serial(12, slow=range(1, 12))).axes
    assert [each.get_text() for each in axes.texts] == [str(tile) for tile in range(1, 12)]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (r"$x_1$ <script>alert(1)</script>", r"\$x_1\$ <script>alert(1)</script>"),
        ("n" * 400, "n" * 116 + " ..."),
    ],
)
def test_names_are_drawn_as_they_are(name: str, shown: str) -> None:
    figure = picture(chain(tiles=1), name=name, verdict="WRONG")
    figure.canvas.draw()
    assert figure.get_suptitle() == f"{shown}\nvirtual time on device=simulator, 1 tile: WRONG"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The folder of a run."""
    (tmp_path / "trace.json").write_text(json.dumps(trace(chain(tiles=1), "t")))
    (tmp_path / "record.json").write_text(json.dumps(RECORD))
    return tmp_path


def test_the_file_is_whole_or_absent(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(figure: Figure, path: Path, **options: Any) -> None:
        path.write_bytes(b"\x89PNG")
        raise OSError("no space")

    before = set(run.iterdir())
    with monkeypatch.context() as patch:
        patch.setattr(Figure, "savefig", half)
        with pytest.raises(OSError, match="no space"):
            save(TimelinePicture(run))
    assert set(run.iterdir()) == before
    path = save(TimelinePicture(run))
    assert set(run.iterdir()) == before | {run / "timeline.png"}
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG")
    assert content.endswith(b"IEND\xaeB`\x82")
    assert save(TimelinePicture(run)).read_bytes() == content


@pytest.mark.parametrize("damage", ["{", "{}", '{"traceEvents": [{}], "otherData": {}}'])
def test_a_damaged_trace_is_an_error(run: Path, damage: str) -> None:
    (run / "trace.json").write_text(damage)
    with pytest.raises(ValueError, match=r"Expecting property name|is damaged"):
        save(TimelinePicture(run))
    assert not (run / "timeline.png").exists()
