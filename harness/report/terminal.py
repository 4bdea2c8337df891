"""The table of runs, as rich renders it."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from harness.record import Record
from harness.speedup import Speedup

NOTHING = "-"


def table(records: Sequence[Record], speedups: Sequence[Speedup | None]) -> Table:
    """One row per record; columns that would say the same nothing in every row are left out."""
    result = Table(box=None, padding=(0, 0, 0, 1), pad_edge=False, header_style="bold")
    result.add_column("run", no_wrap=True)
    swept = _swept(records)
    for key in swept:
        result.add_column(key.split(".")[-1], justify="right")
    with_alloc = any(record.metrics["time/alloc_ms"] for record in records)
    with_speedup = len(records) > 1 and any(speedups)
    stages = ["alloc"] * with_alloc + ["write", "launch", "wait", "read"]
    for heading in ("ms/tile", *stages, "stalls", "busy", "/bound", "RTF"):
        result.add_column(heading, justify="right", no_wrap=True)
    if with_speedup:
        result.add_column("speed-up", justify="right", no_wrap=True)
    result.add_column("verdict", no_wrap=True)
    for record, speedup in zip(records, speedups, strict=True):
        values = record.metrics
        cells = [record.label, *(record.given.get(key, NOTHING) for key in swept)]
        cells.append(_number(values["time/tile_ms"], 3))
        cells += [_number(values[f"time/{stage}_ms"], 3) for stage in stages]
        cells += [_stalls(record), _percent(values["device/utilisation"])]
        cells += [_number(values["bound/ratio"], 3), _number(values["rtf/end_to_end"], 1)]
        if with_speedup:
            cells.append(_speedup(speedup))
        result.add_row(*cells, record.verdict.value, style=None if record.ok else "red")
    return result


def footnotes(records: Sequence[Record]) -> list[str]:
    """What the table leaves unsaid: why runs failed, and what the RTF counts."""
    lines = [f"{record.verdict.value} {record.label}: {record.reason}" for record in records if not record.ok]
    if any(record.ok and record.config["verify"] == "off" for record in records):
        lines.append("OK says nothing of outputs that were not compared (verify=off)")
    for record in records:
        if record.ok and record.hazards:
            lines.append(
                f"OK {record.label}, in spite of {record.metrics['hazard/count']} hazards (device.hazards=report)"
            )
    for record in (record for record in records if record.ok):
        counted = record.accounting
        if counted["encoder_tiles"] is None:
            lines.append(f"RTF ({counted['kind']} accounting): counts no tiles of {record.kernel}")
            continue
        lines.append(
            f"RTF ({counted['kind']} accounting): {counted['audio_s']:.3g} s of audio / "
            f"({counted['host_ms']:.1f} ms host + {counted['encoder_tiles']:g} tiles)"
        )
    return list(dict.fromkeys(lines))


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
