"""The table of kernels, workloads and runs against the roofs of a device."""

from __future__ import annotations

from collections.abc import Sequence

from harness.report.tables import NOTHING, Cell, Part, Sheet, hidden, left, number, right
from harness.study.roofline import NEAR, Placed, Roofs


def roofline_parts(points: Sequence[Placed], roofs: Roofs, device: str) -> list[Part]:
    """A row for each point, and lines about the roofs. device: name of the profile."""
    sheet = Sheet(
        "roofline",
        left("name"),
        left("kind"),
        left("type", "dtype"),
        right("columns"),
        right("ops/B", "intensity"),
        right("attainable GOPS", "attainable_gops"),
        right("GOPS", "gops"),
        right("GB/s", "gbytes_per_s"),
        right("share"),
        left("limited by", "limited_by"),
        *map(hidden, ("ops", "bytes", "time_ns", "peak_gops", "bandwidth_gbytes_per_s", "roof")),
    )
    for each in points:
        point = each.point
        sheet.add(
            point.name,
            point.kind,
            point.dtype,
            number(point.columns, "{}"),
            number(point.intensity, "{:,.2f}"),
            number(each.attainable, "{:,.1f}"),
            number(point.gops, "{:,.3f}"),
            number(point.gbytes, "{:,.3f}"),
            number(each.share, "{:.1%}"),
            Cell(each.limit or NOTHING, each.limit),
            *(
                Cell("", value)
                for value in (
                    point.ops or None,
                    point.size_bytes,
                    point.time_ns,
                    each.peak,
                    each.bandwidth,
                    each.roof,
                )
            ),
        )
    return [sheet, *legend(roofs, device)]


def legend(roofs: Roofs, device: str) -> list[str]:
    """What the roofs are, and what a row says."""
    columns = f"{roofs.columns} column" + "s" * (roofs.columns > 1)
    peaks = ", ".join(f"{dtype} {peak:,.0f} GOPS" for dtype, peak in roofs.peaks.items())
    bandwidth = (
        f"{roofs.bandwidth:.2f} GB/s in each direction"
        if roofs.bandwidth
        else "no bandwidth (device.memory), so only peaks are compared; device=phoenix_2026 has one"
    )
    return [
        f"roofs of {device}, {columns}: {peaks or 'no peaks (device.core_macs)'}; {bandwidth}",
        "bytes are those of the direction in which more move; share: of what is attainable; "
        f"limited by: the lower roof, or neither below {NEAR:.0%} of it",
    ]
