"""The table of runs, as rich renders it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.table import Table

from harness.report.tables import factor, plain_table
from harness.results.record import Record
from harness.results.rtf_gap import rtf_gap, sums_by_kernel
from harness.results.speedup import Speedup
from harness.units import NS_PER_S, ns_to_ms

NOTHING = "-"


def table(records: Sequence[Record], speedups: Sequence[Speedup | None]) -> Table:
    """One row per record; columns that would say the same nothing in every row are left out."""
    result = plain_table("run")
    swept = _swept(records)
    for key in swept:
        result.add_column(key.split(".")[-1], justify="right")
    with_alloc = any(record.metrics["time/alloc_ms"] for record in records)
    with_speedup = len(records) > 1 and any(speedups)
    stages = ["alloc"] * with_alloc + ["write", "launch", "wait", "read"]
    opened = [_open_ms(record) for record in records]
    with_open = any(opened)
    for heading in ("ms/tile", *["open"] * with_open, *stages, "stalls", "busy", "/bound", "RTF"):
        result.add_column(heading, justify="right", no_wrap=True)
    if with_speedup:
        result.add_column("speed-up", justify="right", no_wrap=True)
    result.add_column("verdict", no_wrap=True)
    for record, speedup, open_ms in zip(records, speedups, opened, strict=True):
        values, rtf = record.metrics, record.metrics["rtf/end_to_end"]
        cells = [record.label, *(record.given.get(key, NOTHING) for key in swept)]
        cells.append(_number(values["time/tile_ms"], 3))
        cells += [_number(open_ms, 3)] * with_open
        cells += [_number(values[f"time/{stage}_ms"], 3) for stage in stages]
        cells += [_stalls(record), _percent(values["device/utilisation"])]
        cells += [_number(values["bound/ratio"], 3), NOTHING if rtf is None else factor(rtf)]
        if with_speedup:
            cells.append(_speedup(speedup))
        result.add_row(*cells, record.verdict.value, style=None if record.ok else "red")
    return result


def footnotes(records: Sequence[Record]) -> list[str]:
    """What the table leaves unsaid: why runs failed, and what the RTF counts."""
    lines = [
        f"{record.verdict.value} {record.label}: {record.reason}"
        for record in records
        if not record.ok
    ]
    if any(record.ok and record.config["verify"] == "off" for record in records):
        lines.append("OK says nothing of outputs that were not compared (verify=off)")
    for record in records:
        if record.ok and record.hazards:
            lines.append(
                f"OK {record.label}, in spite of {record.metrics['hazard/count']} hazards (device.hazards=report)"
            )
    right = [record for record in records if record.ok]
    lines += [_counted(record) for record in right]
    fastest = {record.accounting["kind"]: record for record in sorted(right, key=_rtf)}
    lines += [
        _far(record)
        for record in fastest.values()
        if record.config.get("workload", {}).get("model")
    ]
    return [line for line in dict.fromkeys(lines) if line]


def _open_ms(record: Record) -> float | None:
    """Time a tile that contexts took to open within the pass: part of ms/tile, but of no stage."""
    totals = record.totals
    return ns_to_ms(totals["open_ns"] / totals["tiles"]) if totals and totals["tiles"] else None


def _rtf(record: Record) -> float:
    return record.metrics["rtf/end_to_end"] or 0


def _counted(record: Record) -> str:
    """What the RTF counts; of a window, also how that is known, and which kernels it goes to."""
    counted, steps = record.accounting, record.steps
    tiles = counted["encoder_tiles"]
    begin = f"RTF ({counted['kind']} accounting): "
    if tiles is None:
        time = (
            f"; {record.metrics['time/total_ms'] or 0:,.1f} ms a pass: {_shares(steps)}"
            if steps
            else ""
        )
        return f"{begin}counts no tiles of {record.kernel}{time}"
    overlapped = ", while the encoder waits" if counted.get("overlap_host") else ""
    begin += (
        f"{counted['audio_s']:.3g} s of audio / ({counted['host_ms']:.1f} ms host{overlapped} + "
    )
    stands = rtf_gap(record)
    if not steps or not stands:
        return f"{begin}{tiles:,} tiles)"
    run = sum(step["run"] for step in steps)
    rest = f", by {run:,} that were run" if run < tiles else ""
    if stands.totals.open_ns:
        rest += f", {stands.totals.open_ns / NS_PER_S:.2f} s of it opening contexts"
    return f"{begin}{stands.time.encoder_s:,.2f} s for {tiles:,} calls{rest}; {_shares(steps)})"


def _shares(steps: Sequence[dict[str, Any]]) -> str:
    """Of the time of a window, by kernel."""
    by_kernel = sums_by_kernel(steps, lambda totals: totals["makespan_ns"])
    whole_ns = sum(by_kernel.values())
    return ", ".join(
        f"{kernel} {100 * time_ns / whole_ns:.1f}%" for kernel, time_ns in by_kernel.items()
    )


def _far(record: Record) -> str:
    """How far an encoder is from the target."""
    stands = rtf_gap(record)
    return (
        f"{record.label} ({record.accounting['kind']} accounting): {stands.remedies()}"
        if stands
        else ""
    )


def _swept(records: Sequence[Record]) -> list[str]:
    """Keys whose given values differ between the rows."""
    keys = dict.fromkeys(key for record in records for key in record.given)
    return [key for key in keys if len({record.given.get(key) for record in records}) > 1]


def _number(value: float | None, digits: int) -> str:
    return NOTHING if value is None else f"{value:.{digits}f}"


def _percent(share: float | None) -> str:
    return NOTHING if share is None else f"{100 * share:.1f}%"


def _stalls(record: Record) -> str:
    count, total_ms = record.metrics["stall/count"], record.metrics["stall/total_ms"]
    if count is None:
        return NOTHING
    return f"{count} ({total_ms:.2f} ms)" if count else "0"


def _speedup(speedup: Speedup | None) -> str:
    if speedup is None:
        return NOTHING
    exact = speedup.high - speedup.low < 0.001
    return f"{speedup.ratio:.2f}x" + ("" if exact else f" [{speedup.low:.2f}, {speedup.high:.2f}]")
