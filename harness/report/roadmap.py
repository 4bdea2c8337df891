"""The roadmap as a table."""

from __future__ import annotations

from harness.report.tables import NOTHING, Cell, Part, Sheet, factor, left, number, right
from harness.results.rtf_gap import TARGET_RTF, times
from harness.study.roadmap import ACCOUNTINGS, PhaseRun, Roadmap

NOT_RUN = "not run"
"""In place of the RTF of a phase without a run by that accounting."""


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
