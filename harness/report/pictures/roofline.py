"""The roofline: operations a second over operations a byte, both axes logarithmic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.report.pictures.files import bare, new_figure
from harness.report.pictures.style import (
    BLACK,
    FONT_SIZE,
    GREY,
    LIGHT_GREY,
    MARKERS,
    SERIES_COLOURS,
    SMALL_SIZE,
    TITLE_SIZE,
    WIDTH_INCHES,
    plain,
)
from harness.study.roofline import Placed, Roofs

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FILE_NAME = "roofline.png"
MOST_POINTS = 40
MOST_NAME_CHARACTERS = 40
LINE_INCHES = 0.19
"""Height of a line of the legend."""
STYLES = ("-", "--", ":", "-.")
"""Of the roofs of different numbers of columns."""


@dataclass(frozen=True)
class RooflinePicture:
    """`roofline.png`. roofs: of each number of columns that a point has."""

    path: Path
    points: Sequence[Placed]
    roofs: Sequence[Roofs]
    title: str

    def figure(self) -> Figure:
        """Draw; ValueError without a point that has operations and bytes."""
        return draw(self.points, self.roofs, self.title)


def draw(points: Sequence[Placed], roofs: Sequence[Roofs], title: str) -> Figure:
    """Draw the roofs and a marker for each point; ValueError without a point to draw."""
    drawn = [each for each in points if each.point.intensity and each.point.gops]
    if not drawn:
        raise ValueError("no kernel or run declares its operations and bytes")
    shown = drawn[:MOST_POINTS]
    lines = len(shown) + sum(len(each.peaks) for each in roofs)
    figure = new_figure(WIDTH_INCHES, max(5.6, LINE_INCHES * (lines + 2)))
    axes = figure.subplots()
    axes.set_xscale("log")
    axes.set_yscale("log")
    low, high = _range(shown, roofs)
    for place, each in enumerate(roofs):
        _draw_roofs(axes, each, STYLES[place % len(STYLES)], low, high)
    for place, placed in enumerate(shown):
        _draw_point(axes, place, placed)
    axes.set_xlim(low, high)
    axes.set_xlabel("operations a byte (in the direction in which more move)", fontsize=FONT_SIZE)
    axes.set_ylabel("10^9 operations a second", fontsize=FONT_SIZE)
    axes.grid(which="major", color=LIGHT_GREY, linewidth=0.5)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=SMALL_SIZE)
    bare(axes)
    cut = f" (the first {len(shown)} of {len(drawn)})" if len(shown) < len(drawn) else ""
    figure.suptitle(plain(title) + cut, fontsize=TITLE_SIZE)
    figure.legend(
        loc="outside right upper",
        fontsize=SMALL_SIZE,
        frameon=False,
        title="point (share of its roof)",
        title_fontsize=SMALL_SIZE,
    )
    return figure


def _range(points: Sequence[Placed], roofs: Sequence[Roofs]) -> tuple[float, float]:
    """The ends of the axis of operations a byte: points and ridges lie between them."""
    values = [each.point.intensity or 1.0 for each in points]
    for each in roofs:
        if each.bandwidth:
            values += [peak / each.bandwidth for peak in each.peaks.values()]
    return min(values) / 4, max(values) * 4


def _draw_roofs(axes: Axes, roofs: Roofs, style: str, low: float, high: float) -> None:
    """A line for each element type: bandwidth up to the ridge, then the peak."""
    columns = f"{roofs.columns} column" + "s" * (roofs.columns > 1)
    for place, (dtype, peak) in enumerate(roofs.peaks.items()):
        ridge = peak / roofs.bandwidth if roofs.bandwidth else low
        heights = [low * roofs.bandwidth if roofs.bandwidth else peak, peak, peak]
        colour = (BLACK, GREY)[place % 2]
        label = f"{dtype} roof, {columns}"
        axes.plot([low, ridge, high], heights, style, color=colour, linewidth=1.3, label=label)
        axes.annotate(
            f"{peak:,.0f} GOPS",
            (high, peak),
            xytext=(-2, 3),
            textcoords="offset points",
            fontsize=SMALL_SIZE,
            color=colour,
            ha="right",
        )


def _draw_point(axes: Axes, place: int, placed: Placed) -> None:
    point = placed.point
    name = plain(point.name, MOST_NAME_CHARACTERS)
    share = f" ({placed.share:.1%})" if placed.share is not None else ""
    axes.plot(
        [point.intensity or 0.0],
        [point.gops or 0.0],
        linestyle="none",
        marker=MARKERS[(place + place // len(SERIES_COLOURS)) % len(MARKERS)],
        color=SERIES_COLOURS[place % len(SERIES_COLOURS)],
        markersize=7,
        markeredgecolor="white",
        markeredgewidth=0.5,
        # A label that begins with an underscore is not in the legend.
        label=f" {name}{share}",
    )
