"""The table of runs and its footnotes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.table import Table

from harness.measure.metric import Unit
from harness.measure.metrics import METRICS, SPEEDUP
from harness.measure.stats import Ratio
from harness.report.tables import factor, plain_table
from harness.results.record import Record
from harness.results.rtf_gap import rtf_gap, sums_by_kernel
from harness.run.tile_passes import Step
from harness.units import NS_PER_S

NOTHING = "-"
OPEN, ALLOC = "time/open_ms", "time/alloc_ms"
STALLS, STALL_MS = "stall/count", "stall/total_ms"
COLUMNS = (
    "time/tile_ms",
    OPEN,
    ALLOC,
    "time/write_ms",
    "time/launch_ms",
    "time/wait_ms",
    "time/read_ms",
    STALLS,
    "device/utilisation",
    "bound/ratio",
    "rtf/end_to_end",
)
"""Metrics in the table, from left to right."""
OCCASIONAL = (OPEN, ALLOC)
"""Metrics that have a column only if some run spends time on them."""
FORMATS: dict[Unit, Callable[[float], str]] = {
    Unit.ms: "{:.3f}".format,
    Unit.share: "{:.1%}".format,
    Unit.factor: "{:.3f}".format,
    Unit.realtime: factor,
}
EXACT = 0.001
"""Intervals narrower than this are not shown."""


def table(records: Sequence[Record], speedups: Sequence[Ratio | None]) -> Table:
    """One row per record; columns that would say nothing in every row are left out."""
    result = plain_table("run")
    swept = _swept(records)
    for key in swept:
        result.add_column(key.split(".")[-1], justify="right")
    columns = [
        name
        for name in COLUMNS
        if name not in OCCASIONAL or any(record.metrics.get(name) for record in records)
    ]
    with_speedup = len(records) > 1 and any(speedups)
    for name in [*columns, *[SPEEDUP] * with_speedup]:
        result.add_column(METRICS[name].heading, justify="right", no_wrap=True)
    result.add_column("verdict", no_wrap=True)
    for record, speedup in zip(records, speedups, strict=True):
        cells = [record.label, *(record.settings.get(key, NOTHING) for key in swept)]
        cells += [_cell(record, name) for name in columns]
        if with_speedup:
            cells.append(_speedup(speedup))
        result.add_row(*cells, record.verdict.value, style=None if record.ok else "red")
    return result


def _cell(record: Record, name: str) -> str:
    value = record.metrics.get(name)
    if value is None:
        return NOTHING
    if name == STALLS:
        return f"{value} ({record.metrics[STALL_MS]:.2f} ms)" if value else "0"
    return FORMATS[METRICS[name].unit](value)


def footnotes(records: Sequence[Record]) -> list[str]:
    """Lines below the table: why runs failed, and what the RTF counts."""
    lines = [
        f"{record.verdict.value} {record.label}: {record.reason}"
        for record in records
        if not record.ok
    ]
    if any(record.ok and record.config["verify"] == "off" for record in records):
        lines.append("OK says nothing of outputs that were not compared (verify=off)")
    for record in records:
        if record.ok and record.hazards:
            count = record.metrics["hazard/count"]
            lines.append(f"OK {record.label}, in spite of {count} hazards (device.hazards=report)")
    right = [record for record in records if record.ok]
    lines += [_counted(record) for record in right]
    fastest = {record.accounting.kind: record for record in sorted(right, key=_rtf)}
    lines += [
        _remedies(record)
        for record in fastest.values()
        if record.config.get("workload", {}).get("model")
    ]
    return [line for line in dict.fromkeys(lines) if line]


def _rtf(record: Record) -> float:
    return record.metrics["rtf/end_to_end"] or 0


def _counted(record: Record) -> str:
    """What the RTF counts; of an encoder also which calls ran, and the share of each kernel."""
    basis, steps = record.accounting, record.steps
    tiles = basis.encoder_tiles
    begin = f"RTF ({basis.kind.value} accounting): "
    if tiles is None:
        total_ms = record.metrics["time/total_ms"] or 0
        time = f"; {total_ms:,.1f} ms a pass: {_shares(steps)}" if steps else ""
        return f"{begin}counts no tiles of {record.kernel}{time}"
    overlapped = ", while the encoder waits" if basis.overlap_host else ""
    begin += f"{basis.audio_s:.3g} s of audio / ({basis.host_ms:.1f} ms host{overlapped} + "
    gap = rtf_gap(record)
    if not steps or not gap:
        return f"{begin}{tiles:,} tiles)"
    run = sum(step.run for step in steps)
    rest = f", by {run:,} that were run" if run < tiles else ""
    if gap.totals.open_ns:
        rest += f", {gap.totals.open_ns / NS_PER_S:.2f} s of it opening contexts"
    return f"{begin}{gap.time.encoder_s:,.2f} s for {tiles:,} calls{rest}; {_shares(steps)})"


def _shares(steps: Sequence[Step]) -> str:
    """Share of each kernel in the time of an encoder."""
    by_kernel = sums_by_kernel(steps, lambda totals: totals.makespan_ns)
    whole_ns = sum(by_kernel.values())
    return ", ".join(
        f"{kernel} {100 * time_ns / whole_ns:.1f}%" for kernel, time_ns in by_kernel.items()
    )


def _remedies(record: Record) -> str:
    """How far an encoder is from the target."""
    gap = rtf_gap(record)
    return (
        f"{record.label} ({record.accounting.kind.value} accounting): {gap.remedies()}"
        if gap
        else ""
    )


def _swept(records: Sequence[Record]) -> list[str]:
    """Keys whose values differ between the rows."""
    keys = dict.fromkeys(key for record in records for key in record.settings)
    return [key for key in keys if len({record.settings.get(key) for record in records}) > 1]


def _speedup(speedup: Ratio | None) -> str:
    if speedup is None:
        return NOTHING
    text = f"{speedup.ratio:.2f}x"
    if speedup.low is None or speedup.high is None or speedup.high - speedup.low < EXACT:
        return text
    return f"{text} [{speedup.low:.2f}, {speedup.high:.2f}]"
