"""The curves of a sweep: time per tile over a number, or of categories, with the bounds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.report.pictures.files import bare, legend_below, new_figure
from harness.report.pictures.style import (
    BEST_COLOUR,
    BLACK,
    BLUE,
    BOUND,
    FONT_SIZE,
    GREY,
    MARKERS,
    MOST_CURVES,
    SERIES_COLOURS,
    SMALL_SIZE,
    TITLE_SIZE,
    WIDTH_INCHES,
    plain,
)
from harness.study.sweep_curves import Curve, Point, SweepCurves

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FILE_NAME = "curves.png"
MOST_BARS = 40
MOST_NAME_CHARACTERS = 60
MOST_TICKS = 16
"""Most values of x that have a tick each."""
WIDE = 20
"""Ratio of the largest and the smallest x from which the axis is logarithmic."""
BOUND_IN_LINES = "bound: the shortest\ntime with the same\nstage times"
BEST = "fastest right run"


@dataclass(frozen=True)
class CurvesPicture:
    """`curves.png` in the folder of a sweep."""

    folder: Path
    title: str
    curves: SweepCurves

    @property
    def path(self) -> Path:
        """The PNG file."""
        return self.folder / FILE_NAME

    def figure(self) -> Figure:
        """Draw."""
        return draw(self.curves, self.title)


def draw(curves: SweepCurves, title: str) -> Figure:
    """Draw curves over a number, or a bar for each category.

    A curve is a line of the axes, whose label is its name. Its bound is a line without markers.
    """
    shown = curves.fastest(MOST_CURVES if curves.key else MOST_BARS)
    if curves.key:
        figure = new_figure(WIDTH_INCHES, 4.5)
        axes = figure.subplots()
        _draw_lines(axes, curves, shown)
    else:
        figure = new_figure(WIDTH_INCHES, 1.3 + 0.27 * len(shown))
        axes = figure.subplots()
        legend_below(figure, 3, _draw_bars(axes, curves, shown))
    figure.suptitle("\n".join([plain(title), *_remarks(curves, shown)]), fontsize=TITLE_SIZE)
    axes.tick_params(labelsize=SMALL_SIZE)
    bare(axes)
    return figure


def _remarks(curves: SweepCurves, shown: list[Curve]) -> list[str]:
    """What the picture does not show."""
    remarks = []
    if len(shown) < len(curves.curves):
        what = "curves" if curves.key else "runs"
        remarks.append(f"the fastest {len(shown)} of {len(curves.curves)} {what}")
    if curves.left_out:
        runs = "run" if curves.left_out == 1 else "runs"
        remarks.append(f"without {curves.left_out} {runs} that gave no right outputs or no time")
    return ["; ".join(remarks)] if remarks else []


def _draw_lines(axes: Axes, curves: SweepCurves, shown: list[Curve]) -> None:
    for place, curve in enumerate(shown):
        colour = SERIES_COLOURS[place % len(SERIES_COLOURS)]
        marker = MARKERS[(place + place // len(SERIES_COLOURS)) % len(MARKERS)]
        xs = [point.x for point in curve.points]
        name = plain(curve.name or "measured", MOST_NAME_CHARACTERS)
        # A label that begins with an underscore is not in the legend.
        name = f" {name}" if name.startswith("_") else name
        axes.plot(
            xs,
            [point.tile_ms for point in curve.points],
            color=colour,
            marker=marker,
            # Later curves hide earlier ones that are equal: these show behind them.
            markersize=4 + 5 * (len(shown) - place) / len(shown),
            linewidth=1.4,
            label=name,
        )
        bounds = [point for point in curve.points if point.bound_ms is not None]
        if bounds:
            axes.plot(
                [point.x for point in bounds],
                [point.bound_ms or 0.0 for point in bounds],
                color=colour,
                linestyle=":",
                # A single point has no line.
                marker="_" if len(bounds) == 1 else "",
                label=f"_bound of {place}",
            )
    best = [point for curve in shown for point in curve.points if point.row in curves.best]
    _mark_best(axes, [(point.x, point.tile_ms) for point in best])
    _scale_x(axes, curves)
    axes.set_xlabel(plain(curves.label), fontsize=FONT_SIZE)
    axes.set_ylabel("ms per tile", fontsize=FONT_SIZE)
    axes.grid(alpha=0.3)
    axes.legend(
        handles=_line_keys(axes, bool(best)),
        loc="upper left",
        bbox_to_anchor=(1.0, 1.0),
        frameon=False,
        fontsize=SMALL_SIZE,
    )


def _mark_best(axes: Axes, places: list[tuple[float, float]]) -> None:
    if places:
        xs, ys = zip(*places, strict=True)
        axes.scatter(
            xs,
            ys,
            s=140,
            facecolors="none",
            edgecolors=BEST_COLOUR,
            linewidths=1.8,
            zorder=4,
            label=f"_{BEST}",
        )


def _scale_x(axes: Axes, curves: SweepCurves) -> None:
    """A logarithmic axis for values far apart; a tick for each value if they are few."""
    values = curves.x_values
    if values[0] > 0 and values[-1] / values[0] >= WIDE:
        axes.set_xscale("log", base=2)
    if len(values) <= MOST_TICKS:
        axes.set_xticks(values, [f"{value:g}" for value in values])
        axes.minorticks_off()


def _line_keys(axes: Axes, with_best: bool) -> list[Any]:
    from matplotlib.lines import Line2D

    lines = axes.get_lines()
    keys: list[Any] = [each for each in lines if not str(each.get_label()).startswith("_")]
    if len(keys) < len(lines):
        keys.append(Line2D([], [], color=GREY, linestyle=":", label=BOUND_IN_LINES))
    if with_best:
        keys.append(
            Line2D(
                [],
                [],
                color=BEST_COLOUR,
                marker="o",
                markersize=9,
                markerfacecolor="none",
                linestyle="",
                label=BEST,
            )
        )
    return keys


def _draw_bars(axes: Axes, curves: SweepCurves, shown: list[Curve]) -> list[Any]:
    """Draw a bar for each run; returns the keys of the legend."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    points = [curve.points[0] for curve in shown]
    places = range(len(points))
    bars = axes.barh(places, [point.tile_ms for point in points], 0.7, color=BLUE)
    keys: list[Any] = [Patch(color=BLUE, label="measured")]
    for bar, point in zip(bars, points, strict=True):
        if point.row in curves.best:
            bar.set_color(BEST_COLOUR)
    if any(point.row in curves.best for point in points):
        keys.append(Patch(color=BEST_COLOUR, label=BEST))
    known = [(place, each.bound_ms) for place, each in enumerate(points) if each.bound_ms]
    if known:
        axes.vlines(
            [bound for _, bound in known],
            [place - 0.42 for place, _ in known],
            [place + 0.42 for place, _ in known],
            color=BLACK,
            linewidth=2.0,
        )
        keys.append(Line2D([], [], color=BLACK, linewidth=2.0, label=BOUND))
    longest = max(point.tile_ms for point in points)
    for place, point in enumerate(points):
        at = max(point.tile_ms, point.bound_ms or 0) + 0.01 * longest
        axes.text(at, place, _figures(point), va="center", fontsize=SMALL_SIZE)
    axes.set_xlim(0, 1.2 * longest)
    names = [plain(each.name, MOST_NAME_CHARACTERS) for each in shown]
    axes.set_yticks(places, names, fontsize=FONT_SIZE)
    axes.set_ylim(len(points) - 0.4, -0.6)
    axes.set_xlabel("ms per tile", fontsize=FONT_SIZE)
    if curves.label and len(points) > 1:
        axes.set_ylabel(plain(curves.label), fontsize=FONT_SIZE)
    return keys


def _figures(point: Point) -> str:
    text = f"{point.tile_ms:.4g}"
    return f"{text} ({point.tile_ms / point.bound_ms:.3f}x bound)" if point.bound_ms else text
