"""The roadmap as a table, and as a picture."""

from __future__ import annotations

from pathlib import Path

from harness.report.tables import NOTHING, Cell, Part, Sheet, factor, left, number, right
from harness.results.rtf_gap import TARGET_RTF, times
from harness.study.roadmap import ACCOUNTINGS, PhaseRun, Roadmap

FILE_NAME = "roadmap.png"
NOT_RUN = "not run"
"""In place of the RTF of a phase without a run by that accounting."""
COLOURS = {"guide": "tab:blue", "full": "tab:orange"}


def parts(roadmap: Roadmap) -> list[Part]:
    """The parts to print, from top to bottom."""
    columns = [left("phase"), left("what it does")]
    columns += [right("guide's target"), right("guide's RTF")]
    for kind in ACCOUNTINGS:
        columns += [
            right(f"RTF ({kind})"),
            right(f"to {TARGET_RTF}x", f"to {TARGET_RTF}x ({kind})"),
        ]
        columns.append(left("bound by", f"bound by ({kind})"))
    sheet = Sheet("phases", *columns, right("ceiling"))
    for row in roadmap.rows:
        known = row.guide or row.full
        sheet.add(
            row.phase,
            row.goal or NOTHING,
            row.guide_target or NOTHING,
            _range(row.guide_rtf),
            *_cells(row.guide),
            *_cells(row.full),
            number(known.ceiling if known else None, "{:.1f}"),
        )
    return [
        f"{roadmap.model} on device={roadmap.device}: the newest right run of each phase; "
        "each RTF is that run's own",
        sheet,
        "guide accounting counts tiles of the guide's block, full accounting every operation of "
        "the encoder; ceiling: the RTF if the encoder took no time",
        *roadmap.remarks,
    ]


def _cells(measured: PhaseRun | None) -> tuple[Cell, Cell, Cell]:
    if measured is None:
        nothing = Cell(NOTHING, None)
        return Cell(NOT_RUN, None), nothing, nothing
    needed = "reached" if measured.speedup_needed <= 1 else times(measured.speedup_needed)
    return (
        number(measured.rtf, factor),
        Cell(needed, measured.speedup_needed),
        Cell(measured.bottleneck, measured.bottleneck),
    )


def _range(limits: tuple[float, ...]) -> str:
    low, high = (f"{limit:g}" for limit in limits) if limits else (NOTHING, NOTHING)
    return low if low == high else f"{low}-{high}"


def save_picture(roadmap: Roadmap, folder: Path) -> Path:
    """Write `roadmap.png` into `folder`; OSError where that fails.

    A bar per phase and accounting on a logarithmic scale, the guide's ranges, the ceiling and the
    target.
    """
    import matplotlib

    # Draws into memory: the machine may have no display.
    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(11, 6), layout="constrained")
    lowest = min(
        (each.rtf for row in roadmap.rows for each in (row.guide, row.full) if each), default=1.0
    )
    for offset, kind in ((-0.2, "guide"), (0.2, "full")):
        for place, row in enumerate(roadmap.rows):
            measured: PhaseRun | None = getattr(row, kind)
            if measured is None:
                continue
            series = f"measured, {kind} accounting"
            # Each bar with a label would be a line of the legend.
            label = None if series in axes.get_legend_handles_labels()[1] else series
            axes.bar(place + offset, measured.rtf, 0.36, color=COLOURS[kind], label=label)
            at = place + offset, measured.rtf
            axes.annotate(
                f"{factor(measured.rtf)}  {measured.bottleneck}",
                at,
                (0, -6),
                textcoords="offset points",
                ha="center",
                va="top",
                rotation=90,
                size=9,
                color="w",
            )
    expected = [(place, row.guide_rtf) for place, row in enumerate(roadmap.rows) if row.guide_rtf]
    for place, (low, high) in expected:
        label = "what the guide expects" if place == expected[0][0] else None
        # A single expected value, as that of the baseline, would be an area without height.
        bottom, top = (low, high) if high > low else (low * 0.97, high * 1.03)
        axes.fill_between(
            [place - 0.45, place + 0.45], bottom, top, color="tab:green", alpha=0.35, label=label
        )
    ceilings = [
        each.ceiling
        for row in roadmap.rows
        for each in (row.guide, row.full)
        if each and each.ceiling
    ]
    if ceilings:
        axes.axhline(
            ceilings[-1],
            color="tab:red",
            linestyle="--",
            label="ceiling: the encoder takes no time",
        )
    axes.axhline(TARGET_RTF, color="black", linestyle=":", label=f"target, {TARGET_RTF}x")
    axes.set_yscale("log")
    # Leaves room for the text inside the lowest bar.
    axes.set_ylim(lowest / 2000, TARGET_RTF * 3)
    axes.set_xticks(range(len(roadmap.rows)), [row.phase for row in roadmap.rows])
    axes.set_ylabel("realtime factor (seconds of audio per second), log scale")
    axes.set_title(f"{roadmap.model} on device={roadmap.device}: measured by phase")
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8)
    path = folder / FILE_NAME
    try:
        figure.savefig(path, dpi=110)
    finally:
        # pyplot keeps every figure in memory until it is closed.
        pyplot.close(figure)
    return path
