"""The forest plot of a comparison: a row per setting, its ratio with interval, its verdict."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import log, sqrt
from pathlib import Path
from typing import TYPE_CHECKING

from harness.measure.comparison import Change
from harness.report.comparison import percent
from harness.report.pictures.files import legend_below, new_figure
from harness.report.pictures.style import (
    BLACK,
    BLUE,
    FONT_SIZE,
    GREEN,
    GREY,
    LIGHT_GREY,
    SMALL_SIZE,
    TITLE_SIZE,
    VERMILION,
    WIDTH_INCHES,
    plain,
)
from harness.study.forest import Forest, ForestRow, band

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FILE_NAME = "comparison.png"
MOST_ROWS = 200
"""Rows of a picture: 0.26 inches each, so that at most 6,500 pixels are one below another."""
ROW_INCHES, FRAME_INCHES, LEAST_ROWS = 0.26, 1.2, 3
MOST_NAME_CHARACTERS = 48
MOST_REASON_CHARACTERS = 70
COLOURS = {
    Change.FASTER: BLUE,
    Change.SLOWER: VERMILION,
    Change.SAME: GREEN,
    Change.UNDECIDED: GREY,
    Change.INVALID: VERMILION,
}
MARKERS = {Change.FASTER: "<", Change.SLOWER: ">", Change.SAME: "o", Change.UNDECIDED: "o"}
"""Of the verdicts that have a ratio; that of UNDECIDED is hollow."""
LEAST_SPAN = log(1.02)
"""Least half width of the axis, as the logarithm of a ratio."""


@dataclass(frozen=True)
class ForestPicture:
    """The forest plot of a comparison."""

    path: Path
    data: Forest

    def figure(self) -> Figure:
        """Draw; ValueError without rows."""
        return draw(self.data)


def draw(data: Forest) -> Figure:
    """Draw a row for each comparison; of more than MOST_ROWS the first ones, as the title states.

    ValueError without rows.
    """
    if not data.rows:
        raise ValueError("no rows")
    rows = data.rows[:MOST_ROWS]
    figure = new_figure(WIDTH_INCHES, FRAME_INCHES + ROW_INCHES * max(LEAST_ROWS, len(rows)))
    figure.set_layout_engine("constrained", w_pad=0.08, h_pad=0.06)
    axes = figure.add_subplot()
    _draw_limits(axes, data)
    for place, row in enumerate(rows):
        _draw_row(axes, place, row)
    _draw_axes(axes, data, rows)
    cut = f" (the first {len(rows)} of {len(data.rows)} rows)" if len(rows) < len(data.rows) else ""
    figure.suptitle(f"Time / time of {plain(data.reference)}{cut}", fontsize=TITLE_SIZE)
    legend_below(figure, 3)
    return figure


def _draw_limits(axes: Axes, data: Forest) -> None:
    """The band of the threshold, the line of equal times, and the noise floor."""
    axes.axvspan(
        *band(data.threshold),
        color=LIGHT_GREY,
        alpha=0.6,
        linewidth=0,
        label=f"difference of at most {percent(data.threshold)} (threshold)",
    )
    axes.axvline(1, color=BLACK, linewidth=0.8)
    if data.noise_floor:
        text = f"noise floor of equal runs, {percent(data.noise_floor)}"
        for ratio, label in zip(band(data.noise_floor), (text, None), strict=True):
            axes.axvline(ratio, color=BLACK, linewidth=1, linestyle=(0, (4, 3)), label=label)
    if any(_has_width(row) for row in data.rows):
        axes.plot([], [], color=GREY, linewidth=1.8, label="95 % interval of the ratio")


def _has_width(row: ForestRow) -> bool:
    return row.low is not None and not row.exact


def _draw_row(axes: Axes, place: int, row: ForestRow) -> None:
    colour = COLOURS[row.verdict]
    if row.ratio is None or row.verdict not in MARKERS:
        words = f"{row.verdict.value}: {row.reason}" if row.reason else row.verdict.value
        axes.axhspan(place - 0.5, place + 0.5, color=colour, alpha=0.12, linewidth=0)
        axes.text(
            0.5,
            place,
            plain(words, MOST_REASON_CHARACTERS),
            transform=axes.get_yaxis_transform(),
            color=colour,
            fontsize=SMALL_SIZE,
            ha="center",
            va="center",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5},
            zorder=4,
        )
        return
    if row.low is not None and row.high is not None and not row.exact:
        axes.plot([row.low, row.high], [place, place], color=colour, linewidth=1.8)
    face = "white" if row.verdict is Change.UNDECIDED else colour
    axes.plot(
        [row.ratio],
        [place],
        marker=MARKERS[row.verdict],
        color=colour,
        markerfacecolor=face,
        markersize=6,
        linestyle="none",
        zorder=3,
    )


def _draw_axes(axes: Axes, data: Forest, rows: tuple[ForestRow, ...]) -> None:
    low, high = _range(data, rows)
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    axes.set_xticks(ticks := _ticks(low, high), [f"{each:.6g}" for each in ticks])
    axes.minorticks_off()
    axes.grid(axis="x", color=LIGHT_GREY, linewidth=0.5)
    axes.set_axisbelow(True)
    axes.set_xlabel("less time  <  1  <  more time    (log scale)", fontsize=SMALL_SIZE)
    # The first row on top.
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_yticks(
        range(len(rows)),
        [plain(row.name, MOST_NAME_CHARACTERS) for row in rows],
        fontsize=FONT_SIZE,
    )
    right = axes.secondary_yaxis("right")
    right.set_yticks(range(len(rows)), [_result(row) for row in rows], fontsize=FONT_SIZE)
    for label, row in zip(right.get_yticklabels(), rows, strict=True):
        label.set_color(BLACK if row.verdict is Change.UNDECIDED else COLOURS[row.verdict])
    for axis in (axes, right):
        axis.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=SMALL_SIZE)


def _result(row: ForestRow) -> str:
    """The verdict and the ratio, at the right of a row."""
    if row.ratio is None:
        return row.verdict.value
    if row.exact:
        certainty = "exact"
    elif row.low is not None and row.high is not None:
        certainty = f"[{row.low:.3f}, {row.high:.3f}]"
    else:
        certainty = "1 pair" if row.pairs == 1 else f"{row.pairs} pairs"
    return f"{row.ratio:.3f}  {certainty}  {row.verdict.value}"


def _range(data: Forest, rows: Iterable[ForestRow]) -> tuple[float, float]:
    """The ends of the axis: all that is drawn lies between them."""
    drawn = [each for row in rows for each in (row.ratio, row.low, row.high) if each]
    ratios = [*band(data.threshold), *band(data.noise_floor), *drawn]
    low, high = min(ratios), max(ratios)
    margin = max(0.06 * log(high / low), LEAST_SPAN - log(high / low) / 2)
    factor = (1 + margin / 2) ** 2
    return low / factor, high * factor


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers on the axis, 1 among them."""
    from matplotlib.ticker import LogLocator, MaxNLocator

    is_narrow = high / low < 3
    locator = MaxNLocator(7, steps=[1, 2, 2.5, 5, 10]) if is_narrow else LogLocator(subs=(1, 2, 5))
    ticks = [float(each) for each in locator.tick_values(low, high) if low <= each <= high]
    # On a wide axis only those that do not touch the next one.
    shown = list[float]()
    for each in ticks:
        if not shown or log(each / shown[-1]) > sqrt(2) * log(high / low) / 20:
            shown.append(each)
    return shown
