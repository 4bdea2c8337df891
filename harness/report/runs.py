"""The table of runs and the lines below it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from harness.measure.metric import Unit
from harness.measure.metrics import METRIC_NAMES, METRICS, SPEEDUP
from harness.measure.stats import Ratio, spread
from harness.report.processor import processor_lines
from harness.report.tables import NOTHING, Cell, Sheet, factor, hidden, left, number, right
from harness.results.record import Record
from harness.results.rtf_gap import bound_by, rtf_gap, sums_by_kernel
from harness.run.tile_passes import Step
from harness.units import NS_PER_S

OPEN, ALLOC = "time/open_ms", "time/alloc_ms"
STALLS, STALL_MS = "stall/count", "stall/total_ms"
TILE_MS, BOUND_RATIO = "time/tile_ms", "bound/ratio"
COLUMNS = (
    TILE_MS,
    OPEN,
    ALLOC,
    "time/write_ms",
    "time/launch_ms",
    "time/wait_ms",
    "time/read_ms",
    STALLS,
    "device/utilisation",
    BOUND_RATIO,
    "rtf/end_to_end",
)
"""Metrics in the table, from left to right."""
DETAILS = ("model/total_ms", "model/residual_pct")
"""Metrics that a detailed table has too, if any run has a value."""
OCCASIONAL = (OPEN, ALLOC)
"""Metrics that have a column only if a run spends time on them."""
FORMATS: dict[Unit, Callable[[float], str]] = {
    Unit.ms: "{:.3f}".format,
    Unit.share: "{:.1%}".format,
    Unit.percent: "{:+.2f}%".format,
    Unit.factor: "{:.3f}".format,
    Unit.realtime: factor,
}
CPU = "cpu"
"""Kind of the device whose rows, RTFs and lines say that it is no NPU."""
EXACT = 0.001
"""Intervals narrower than this are not shown."""
FASTEST = "*"
"""Mark of the fastest right run."""
TIE = 0.001
"""Largest relative difference of two times that count as equal."""


def table(
    records: Sequence[Record],
    speedups: Sequence[Ratio | None],
    folders: Sequence[Path] = (),
    *,
    apart: bool = False,
    detailed: bool = False,
) -> Sheet:
    """One row per record; columns that have no value in any row are left out.

    CSV and JSON have every metric, and the folder of each record where `folders` are given. apart:
    whether text and Markdown have the folders too. detailed: whether they have DETAILS.
    """
    swept, marks = _swept(records), fastest(records)
    visible = [
        name
        for name in COLUMNS
        if name not in OCCASIONAL or any(record.metrics.get(name) for record in records)
    ]
    if detailed:
        values = {name: [each.metrics.get(name) for each in records] for name in DETAILS}
        visible += [name for name in DETAILS if set(values[name]) - {None}]
    others = [name for name in METRIC_NAMES if name not in visible and name != SPEEDUP]
    with_speedup = len(records) > 1 and any(speedups)
    columns = [left("", "fastest")] if marks else []
    columns += [left("strategy"), left("run")]
    with_device = "device" not in swept and any(record.device == CPU for record in records)
    columns += [left("device")] * with_device
    # The last part is short enough for a heading; CSV and JSON have the whole key.
    columns += [right(key.split(".")[-1], key) for key in swept]
    for name in visible:
        columns.append(right(METRICS[name].heading, name))
        if name == TILE_MS:
            columns.append(right("spread"))
        if name == BOUND_RATIO:
            columns.append(left("bound by"))
    if with_speedup:
        columns.append(right(METRICS[SPEEDUP].heading, SPEEDUP))
        columns += [hidden(f"{SPEEDUP}_low"), hidden(f"{SPEEDUP}_high")]
    columns += [left("verdict"), *map(hidden, others), hidden("reason")]
    columns.append(left("folder") if apart else hidden("folder"))
    result = Sheet("runs", *columns)
    for place, (record, speedup) in enumerate(zip(records, speedups, strict=True)):
        cells: list[Cell | str] = []
        if marks:
            cells.append(Cell(FASTEST if place in marks else "", place in marks))
        cells += [record.preset, record.label, *[record.device] * with_device]
        cells += [_setting(record, key) for key in swept]
        for name in visible:
            cells.append(_cell(record, name))
            if name == TILE_MS:
                cells.append(number(spread(record.samples.total_ns), "{:.1%}"))
            if name == BOUND_RATIO:
                limit = bound_by(record)
                cells.append(Cell(limit or NOTHING, limit))
        if with_speedup:
            cells += _speedup(speedup)
        cells.append(record.verdict.value)
        cells += [Cell("", record.metrics.get(name)) for name in others]
        folder = str(folders[place]) if folders else None
        cells += [record.reason, Cell(folder or NOTHING, folder)]
        result.add(*cells, wrong=not record.ok)
    return result


def _setting(record: Record, key: str) -> Cell:
    """A key of the request as the command line gave it; its value from the configuration."""
    value: Any = record.config
    for part in key.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    text = record.settings.get(key, NOTHING)
    return Cell(text, text if value is None or isinstance(value, dict) else value)


def fastest(records: Sequence[Record]) -> set[int]:
    """Places of the fastest right run among each kind of runs that can be compared.

    Runs that encode audio are compared by the RTF of the encoder, within one accounting; others by
    the time per tile of the same kernel; both on one kind of device. Of equal runs the first
    counts; a run that has no other to be compared with is not marked.
    """
    return {min(group)[1] for group in _compared(records)}


def as_fast(records: Sequence[Record]) -> int:
    """Number of runs without the mark that are as fast as the marked one of their kind."""
    return sum(
        math.isclose(value, best, rel_tol=TIE)
        for (best, _), *others in map(sorted, _compared(records))
        for value, _ in others
    )


def _compared(records: Sequence[Record]) -> list[list[tuple[float, int]]]:
    """Right runs of each kind that has several: what is to be small, and the place of the run."""
    groups: dict[tuple[str, str, str], list[tuple[float, int]]] = {}
    for place, record in enumerate(records):
        rtf, tile_ms = record.metrics.get("rtf/encoder"), record.metrics.get(TILE_MS)
        if not record.ok or not (rtf or tile_ms):
            continue
        key = (record.device, record.accounting.kind.value, "" if rtf else record.kernel)
        # The place decides between equal times, so the mark does not depend on sorting.
        groups.setdefault(key, []).append((-rtf if rtf else tile_ms or 0, place))
    return [group for group in groups.values() if len(group) > 1]


def _cell(record: Record, name: str) -> Cell:
    value = record.metrics.get(name)
    if value is None:
        return Cell(NOTHING, None)
    if name == STALLS:
        text = f"{value} ({record.metrics[STALL_MS]:.2f} ms)" if value else "0"
        return Cell(text, value)
    unit = METRICS[name].unit
    of_cpu = " (cpu)" if unit is Unit.realtime and record.device == CPU else ""
    return Cell(f"{FORMATS[unit](value)}{of_cpu}", value)


def lines_below(records: Sequence[Record]) -> list[str]:
    """All lines below the table of these records."""
    return [*legend(records), *failures(records), *footnotes(records)]


def failures(records: Sequence[Record]) -> list[str]:
    """A line for each run that is not right: why."""
    lines = (
        f"{record.verdict.value} {record.label}: {record.reason}"
        for record in records
        if not record.ok
    )
    return list(dict.fromkeys(lines))


def legend(records: Sequence[Record]) -> list[str]:
    """How many passes a row stands for, and what the mark means."""
    counts = sorted({len(record.samples.total_ns) for record in records} - {0})
    lines = []
    if counts:
        passes = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
        lines.append(
            "a row is one timed pass"
            if counts == [1]
            else f"a row is the median of {passes} timed passes; spread: their range / median"
        )
    if marks := fastest(records):
        devices = "device, " if len({record.device for record in records}) > 1 else ""
        of_several = f" of each {devices}accounting or kernel" if len(marks) > 1 else ""
        ties = as_fast(records)
        others = "1 other is" if ties == 1 else f"{ties} others are"
        remark = f"; {others} as fast, to within {TIE:.1%}" if ties else ""
        lines.append(f"{FASTEST} fastest right run{of_several}{remark}")
    return lines


def footnotes(records: Sequence[Record]) -> list[str]:
    """Remarks below the table: what OK does not cover, what the RTF counts, what it lacks."""
    lines = [line for record in records if record.device == CPU for line in processor_lines(record)]
    if any(record.ok and record.config["verify"] == "off" for record in records):
        lines.append("outputs were not compared (verify=off): OK means that the run completed")
    for record in records:
        if record.ok and record.hazards:
            count = record.metrics["hazard/count"]
            lines.append(f"OK {record.label}, despite {count} hazards (device.hazards=report)")
    completed = [record for record in records if record.ok]
    for record in completed:
        lines += _counted(record)
    # A dict keeps the last of equal keys: of each accounting, the run with the largest RTF.
    best = {record.accounting.kind: record for record in sorted(completed, key=_rtf)}
    for record in best.values():
        if record.config.get("workload", {}).get("model"):
            lines += _remedies(record)
    return list(dict.fromkeys(lines))


def _rtf(record: Record) -> float:
    return record.metrics["rtf/end_to_end"] or 0


def _counted(record: Record) -> list[str]:
    """What the RTF counts; of an encoder also which calls ran, and the share of each kernel."""
    basis, steps = record.accounting, record.steps
    tiles = basis.encoder_tiles
    begin = f"RTF ({basis.kind.value} accounting): "
    if tiles is None:
        lines = [f"{begin}counts no tiles of {record.kernel}"]
        if steps:
            total_ms = record.metrics["time/total_ms"] or 0
            lines.append(f"{_who(record)}: {total_ms:,.1f} ms a pass: {_shares(steps)}")
        return lines
    overlapped = ", while the encoder waits" if basis.overlap_host else ""
    begin += f"{basis.audio_s:.3g} s of audio / ({basis.host_ms:.1f} ms host{overlapped} + "
    gap = rtf_gap(record)
    if not steps or not gap:
        return [f"{begin}{tiles:,} tiles)"]
    # Layers run all calls, windows only some of each operation.
    run = sum(step.run for step in steps)
    lines = [f"{begin}{gap.time.encoder_s:,.2f} s for {tiles:,} calls)"]
    if run < tiles:
        lines.append(f"{_who(record)}: {run:,} of these calls ran, and represent the others")
    if gap.totals.open_ns:
        opening_s = gap.totals.open_ns / NS_PER_S
        lines.append(f"{_who(record)}: opening contexts takes {opening_s:.2f} s of that")
    lines.append(f"{_who(record)}: time by kernel: {_shares(steps)}")
    return lines


def _who(record: Record) -> str:
    """A run, at the beginning of a line about it."""
    return f"{record.label} ({record.accounting.kind.value} accounting)"


def _shares(steps: Sequence[Step]) -> str:
    """Share of each kernel in the time of an encoder."""
    by_kernel = sums_by_kernel(steps, lambda totals: totals.makespan_ns)
    whole_ns = sum(by_kernel.values())
    return ", ".join(
        f"{kernel} {100 * time_ns / whole_ns:.1f}%" for kernel, time_ns in by_kernel.items()
    )


def _remedies(record: Record) -> list[str]:
    """How far an encoder is from the target."""
    gap = rtf_gap(record)
    return [f"{_who(record)}: {line}" for line in gap.remedies()] if gap else []


def _swept(records: Sequence[Record]) -> list[str]:
    """Keys whose values differ between the rows."""
    keys = dict.fromkeys(key for record in records for key in record.settings)
    return [key for key in keys if len({record.settings.get(key) for record in records}) > 1]


def _speedup(speedup: Ratio | None) -> list[Cell]:
    """The speed-up, and the limits of its interval."""
    if speedup is None:
        return [Cell(NOTHING, None)] * 3
    text, low, high = f"{speedup.ratio:.2f}x", speedup.low, speedup.high
    if low is not None and high is not None and high - low >= EXACT:
        text = f"{text} [{low:.2f}, {high:.2f}]"
    return [Cell(text, speedup.ratio), Cell("", low), Cell("", high)]
