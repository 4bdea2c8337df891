"""What a search measured: time per tile by each knob, with the bounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING

from harness.report.pictures.curves import BEST, FILE_NAME
from harness.report.pictures.files import bare, legend_below, new_figure
from harness.report.pictures.style import (
    BEST_COLOUR,
    BLACK,
    BLUE,
    BOUND,
    FONT_SIZE,
    LIGHT_GREY,
    SMALL_SIZE,
    TITLE_SIZE,
    WIDTH_INCHES,
    plain,
)
from harness.study.tuned_knobs import KnobPanel

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_IN_A_ROW = 3
MOST_VALUE_CHARACTERS = 16


@dataclass(frozen=True)
class TunedPicture:
    """`curves.png` in the folder of a search."""

    folder: Path
    title: str
    panels: Sequence[KnobPanel]

    @property
    def path(self) -> Path:
        """The PNG file."""
        return self.folder / FILE_NAME

    def figure(self) -> Figure:
        """Draw."""
        return draw(self.panels, self.title)


def draw(panels: Sequence[KnobPanel], title: str) -> Figure:
    """Draw one panel for each knob, with the same scale of time.

    Each measured setting is a dot in each panel; a line joins the fastest of each value.
    """
    columns = min(MOST_IN_A_ROW, len(panels))
    rows = ceil(len(panels) / columns)
    figure = new_figure(WIDTH_INCHES, 1.2 + 2.6 * rows)
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for axes, panel in zip(grid.flat, panels, strict=False):
        _draw_panel(axes, panel)
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    for axes in grid[:, 0]:
        axes.set_ylabel("ms per tile", fontsize=FONT_SIZE)
    figure.suptitle(plain(title), fontsize=TITLE_SIZE)
    legend_below(figure, 4, grid.flat[0].get_legend_handles_labels()[0])
    return figure


def _draw_panel(axes: Axes, panel: KnobPanel) -> None:
    settings, fastest = panel.settings, panel.fastest
    axes.scatter(
        [each.place for each in settings],
        [each.tile_ms for each in settings],
        s=22,
        color=LIGHT_GREY,
        label="a measured setting",
    )
    axes.plot(
        [each.place for each in fastest],
        [each.tile_ms for each in fastest],
        color=BLUE,
        marker="o",
        markersize=5,
        linewidth=1.4,
        label="the fastest of a value",
    )
    known = [(each.place, each.bound_ms) for each in fastest if each.bound_ms is not None]
    if known:
        axes.hlines(
            [bound for _, bound in known],
            [place - 0.25 for place, _ in known],
            [place + 0.25 for place, _ in known],
            color=BLACK,
            linewidth=2.0,
            label=f"its {BOUND}",
        )
    best = min(fastest, key=lambda each: each.tile_ms)
    axes.scatter(
        [best.place],
        [best.tile_ms],
        s=140,
        facecolors="none",
        edgecolors=BEST_COLOUR,
        linewidths=1.8,
        zorder=4,
        label=BEST,
    )
    names = [plain(each, MOST_VALUE_CHARACTERS) for each in panel.values]
    axes.set_xticks(range(len(names)), names)
    axes.set_xlim(-0.5, len(names) - 0.5)
    axes.set_xlabel(panel.knob, fontsize=FONT_SIZE)
    axes.tick_params(labelsize=SMALL_SIZE)
    axes.grid(alpha=0.3, axis="y")
    bare(axes)
