"""The roadmap as a picture: the realtime factor of each phase, one panel for each accounting."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from harness.report.pictures.files import bare, legend_below, new_figure
from harness.report.pictures.style import (
    ACCOUNTING_COLOURS,
    CEILING_COLOUR,
    EXPECTED_COLOUR,
    FONT_SIZE,
    GREY,
    SMALL_SIZE,
    TARGET_COLOUR,
    TITLE_SIZE,
    WIDTH_INCHES,
    plain,
)
from harness.report.roadmap import NOT_RUN
from harness.report.tables import factor
from harness.results.rtf_gap import TARGET_RTF
from harness.study.roadmap import ACCOUNTINGS, PhaseRun, Roadmap

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FILE_NAME = "roadmap.png"
FAR_APART = 10
"""Ratio of the largest and the smallest value from which an axis is logarithmic."""
DECADES = 100
"""Ratio from which only the powers of ten have a tick."""
HALF = 0.42
"""Half of the width of a phase; the distance of two is 1."""


@dataclass(frozen=True)
class RoadmapPicture:
    """`roadmap.png` in a folder."""

    folder: Path
    roadmap: Roadmap

    @property
    def path(self) -> Path:
        """The PNG file."""
        return self.folder / FILE_NAME

    def figure(self) -> Figure:
        """Draw."""
        return draw(self.roadmap)


def draw(roadmap: Roadmap) -> Figure:
    """Draw a panel for each accounting that any phase has run with."""
    kinds = [kind for kind in ACCOUNTINGS if any(getattr(row, kind) for row in roadmap.rows)]
    figure = new_figure(WIDTH_INCHES, 1.2 + 2.9 * len(kinds))
    panels = figure.subplots(len(kinds), 1, squeeze=False)[:, 0]
    for kind, axes in zip(kinds, panels, strict=True):
        _draw_panel(axes, roadmap, kind)
    absent = [f"{kind} accounting: {NOT_RUN}" for kind in ACCOUNTINGS if kind not in kinds]
    title = f"{roadmap.model} on device={roadmap.device}: realtime factor of each phase"
    figure.suptitle("\n".join([plain(title), *absent]), fontsize=TITLE_SIZE)
    legend_below(figure, 5, _keys(roadmap, kinds))
    return figure


def _draw_panel(axes: Axes, roadmap: Roadmap, kind: str) -> None:
    runs: list[PhaseRun | None] = [getattr(row, kind) for row in roadmap.rows]
    values = [float(TARGET_RTF)]
    for place, (row, run) in enumerate(zip(roadmap.rows, runs, strict=True)):
        if row.guide_rtf:
            low, high = row.guide_rtf[0], row.guide_rtf[-1]
            # A single expected value, as that of the baseline, would be an area without height.
            bottom, top = (low, high) if high > low else (low * 0.97, high * 1.03)
            area = axes.fill_between(
                [place - HALF, place + HALF], bottom, top, color=EXPECTED_COLOUR, alpha=0.3, lw=0
            )
            area.set_label(f"_expected of {row.phase}")
            values += [bottom, top]
        if run and run.ceiling:
            axes.hlines(
                run.ceiling,
                place - 0.5,
                place + 0.5,
                color=CEILING_COLOUR,
                linestyle="--",
                linewidth=1.4,
                label=f"_ceiling of {row.phase}",
            )
            values.append(run.ceiling)
        if run and run.rtf > 0:
            axes.plot(
                place,
                run.rtf,
                marker="o",
                markersize=9,
                color=ACCOUNTING_COLOURS[kind],
                linestyle="",
                label=f"_measured of {row.phase}",
            )
            values.append(run.rtf)
    axes.axhline(TARGET_RTF, color=TARGET_COLOUR, linestyle=":", linewidth=1.4, label="_target")
    _scale(axes, values)
    for place, run in enumerate(runs):
        if run:
            _name(axes, place, run)
    names = [
        plain(row.phase if run else f"{row.phase}: {NOT_RUN}", 30)
        for row, run in zip(roadmap.rows, runs, strict=True)
    ]
    axes.set_xticks(range(len(names)), names, fontsize=FONT_SIZE)
    for label, run in zip(axes.get_xticklabels(), runs, strict=True):
        if run is None:
            label.set_color(GREY)
    axes.set_xlim(-0.5, len(names) - 0.5)
    axes.tick_params(axis="x", length=0)
    axes.tick_params(axis="y", labelsize=SMALL_SIZE)
    axes.set_ylabel("RTF (s of audio per s)", fontsize=FONT_SIZE)
    axes.set_title(f"{kind} accounting", fontsize=FONT_SIZE, loc="left")
    axes.grid(axis="y", alpha=0.3)
    bare(axes)


def _scale(axes: Axes, values: list[float]) -> None:
    """An axis around the values: logarithmic if they are far apart, else from 0."""
    from matplotlib.ticker import LogLocator, NullFormatter

    low, high = min(values), max(values)
    if high / low < FAR_APART:
        axes.set_ylim(0, 1.1 * high)
        return
    axes.set_yscale("log")
    ratio = high / low
    # Below the lowest mark is its label.
    axes.set_ylim(low / ratio**0.2, high * ratio**0.1)
    # One decade alone would have one or two ticks.
    digits = (1, 2, 5) if ratio < DECADES else (1,)
    axes.yaxis.set_major_locator(LogLocator(10, subs=digits))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())


def _name(axes: Axes, place: int, run: PhaseRun) -> None:
    """The value of a run and what limits it, below its mark."""
    has_mark = run.rtf > 0
    axes.annotate(
        plain(f"{factor(run.rtf)}, {run.bottleneck}", 40),
        (place, run.rtf if has_mark else axes.get_ylim()[0]),
        (0, -7 if has_mark else 2),
        textcoords="offset points",
        ha="center",
        va="top" if has_mark else "bottom",
        fontsize=SMALL_SIZE,
        # Readable on the lines and areas behind it.
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 1},
    )


def _keys(roadmap: Roadmap, kinds: list[str]) -> list[Any]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    def line(colour: str, style: Literal[":", "--"], label: str) -> Line2D:
        return Line2D([], [], color=colour, linestyle=style, linewidth=1.4, label=label)

    keys: list[Any] = [
        Line2D(
            [],
            [],
            color=ACCOUNTING_COLOURS[kind],
            marker="o",
            linestyle="",
            label="run" if len(kinds) == 1 else f"run, {kind} accounting",
        )
        for kind in kinds
    ]
    if any(row.guide_rtf for row in roadmap.rows):
        keys.append(Patch(color=EXPECTED_COLOUR, alpha=0.3, label="what the guide expects"))
    keys.append(line(TARGET_COLOUR, ":", f"target, {TARGET_RTF}x"))
    runs = [getattr(row, kind) for row in roadmap.rows for kind in kinds]
    if any(run and run.ceiling for run in runs):
        keys.append(line(CEILING_COLOUR, "--", "ceiling: the encoder takes no time"))
    return keys
