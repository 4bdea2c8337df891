"""The timeline of a run's timed pass: a row for the host and for each column and kernel.

It is drawn from `trace.json`, so that a picture of an old run is the same as that of a new one.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.measure.timeline import Stage
from harness.report.pictures.files import bare, legend_below, new_figure
from harness.report.pictures.strips import Numbers, Stretch, Strips, strips
from harness.report.pictures.style import (
    FONT_SIZE,
    SMALL_SIZE,
    STAGE_COLOURS,
    STALL_COLOUR,
    TITLE_SIZE,
    WIDTH_INCHES,
    plain,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FILE_NAME = "timeline.png"
RECORD_NAME, TRACE_NAME = "record.json", "trace.json"
"""As in `harness.results`; its modules of records take 0.2 s to import, which drawing need not."""
BAR = 0.8
"""Height of a bar; that of a row is 1."""
NARROW = 0.025
"""Part of the axis below which a bar has no room for the number of its tile."""
ON_TOP = {Stage.WAIT: 1, Stage.WRITE: 3, Stage.READ: 3}
"""Order of drawing: of spans narrower than a pixel, the shorter ones stay visible. Others: 2."""
NS_PER_MS = 1e6


@dataclass(frozen=True)
class TimelinePicture:
    """`timeline.png` of the run in a folder, from its trace and its record."""

    folder: Path

    @property
    def path(self) -> Path:
        """The PNG file."""
        return self.folder / FILE_NAME

    def figure(self) -> Figure:
        """Draw; OSError or ValueError if trace or record are missing or damaged."""
        trace, record = (
            json.loads((self.folder / name).read_bytes()) for name in (TRACE_NAME, RECORD_NAME)
        )
        try:
            return draw(strips(trace, record))
        except (KeyError, TypeError, IndexError) as error:
            raise ValueError(f"{TRACE_NAME} or {RECORD_NAME} is damaged ({error!r})") from error


def draw(content: Strips) -> Figure:
    """Draw the strips, one below the other.

    The spans of a row and stage are one collection of the axes, whose label is `row: stage`.
    """
    stretches, rows = content.stretches, len(content.rows)
    figure = new_figure(WIDTH_INCHES, 1.0 + len(stretches) * (0.75 + 0.3 * rows))
    for stretch, axes in zip(
        stretches, figure.subplots(len(stretches), 1, squeeze=False)[:, 0], strict=True
    ):
        _draw_stretch(axes, content, stretch)
    axes.set_xlabel("ms from the begin of the pass", fontsize=FONT_SIZE)
    figure.suptitle(f"{plain(content.name)}\n{plain(content.about)}", fontsize=TITLE_SIZE)
    legend_below(figure, 8, _keys(stretches), FONT_SIZE)
    return figure


def _draw_stretch(axes: Axes, content: Strips, stretch: Stretch) -> None:
    axes.set_xlim(stretch.begin_ns / NS_PER_MS, max(stretch.end_ns, 1) / NS_PER_MS)
    for row, name in enumerate(content.rows):
        for stage in Stage:
            own = stretch.spans[(stretch.spans[:, 0] == row) & (stretch.spans[:, 1] == stage)]
            if len(own):
                _draw_spans(axes, row, stage, own, stretch, f"{name}: {stage.name.lower()}")
    for column in np.unique(stretch.stalls[:, 0]):
        own = stretch.stalls[stretch.stalls[:, 0] == column]
        # All kernels of a chain count together on a column.
        top = 1 + int(column) * content.kernels - BAR / 2
        axes.broken_barh(
            _extents(own[:, 1:]),
            (top, content.kernels - 1 + BAR),
            facecolor="none",
            edgecolor=STALL_COLOUR,
            hatch="////",
            linewidth=0.8,
            zorder=4,
            label=f"column {column}: stall",
        )
    rows = len(content.rows)
    axes.set_yticks(range(rows), [plain(each, 40) for each in content.rows], fontsize=FONT_SIZE)
    axes.set_ylim(rows - 0.4, -0.6)
    axes.tick_params(axis="x", labelsize=SMALL_SIZE)
    axes.tick_params(axis="y", length=0)
    bare(axes)
    if stretch.name:
        axes.set_title(plain(stretch.name), fontsize=FONT_SIZE, loc="left")


def _extents(times: Numbers) -> list[tuple[float, float]]:
    """Begins and lengths in ms, of begins and ends in ns."""
    return [(begin / NS_PER_MS, (end - begin) / NS_PER_MS) for begin, end in times.tolist()]


def _draw_spans(
    axes: Axes, row: int, stage: Stage, spans: Numbers, stretch: Stretch, label: str
) -> None:
    """Draw the spans of a stage; executions with the number of their tile, if it has room."""
    colour = STAGE_COLOURS[stage]
    roomy = spans[:, 5] - spans[:, 4] >= NARROW * (stretch.end_ns - stretch.begin_ns)
    numbered = roomy if stage is Stage.EXEC else np.zeros_like(roomy)
    axes.broken_barh(
        _extents(spans[:, 4:]),
        (row - BAR / 2, BAR),
        facecolor=colour,
        # A span may be shorter than a pixel: its edge is as wide as one.
        edgecolor=["white" if each else colour for each in numbered],
        linewidth=0.6,
        zorder=ON_TOP.get(stage, 2),
        label=label,
    )
    for _, _, tile, tiles, start, end in spans[numbered].tolist():
        axes.text(
            (start + end) / 2 / NS_PER_MS,
            row,
            f"{tile}-{tile + tiles - 1}" if tiles > 1 else str(tile),
            ha="center",
            va="center",
            color="white",
            fontsize=SMALL_SIZE,
            # A bar may lie partly outside the stretch.
            clip_on=True,
        )


def _keys(stretches: Sequence[Stretch]) -> list[Any]:
    """What the colours mean: the stages that occur, and the stalls with their number and time."""
    from matplotlib.patches import Patch

    codes = {int(code) for each in stretches for code in np.unique(each.spans[:, 1])}
    keys = [
        Patch(color=STAGE_COLOURS[stage], label=stage.name.lower())
        for stage in Stage
        if stage in codes
    ]
    stalls = np.concatenate([each.stalls for each in stretches])
    if len(stalls):
        total_ms = (stalls[:, 2] - stalls[:, 1]).sum() / NS_PER_MS
        label = f"stall ({len(stalls)} here, {total_ms:.2f} ms)"
        keys.append(Patch(facecolor="none", edgecolor=STALL_COLOUR, hatch="////", label=label))
    return keys
