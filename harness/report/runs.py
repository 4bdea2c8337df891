"""The table of runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from harness.measure.metric import Unit
from harness.measure.metrics import METRIC_NAMES, METRICS, SPEEDUP
from harness.measure.stats import Ratio, spread
from harness.measure.stopping import StopReason
from harness.report.tables import NOTHING, Cell, Sheet, factor, hidden, left, number, right
from harness.results.record import Record
from harness.results.rtf_gap import bound_by

OPEN, ALLOC = "time/open_ms", "time/alloc_ms"
STALLS, STALL_MS = "stall/count", "stall/total_ms"
TILE_MS, BOUND_RATIO = "time/tile_ms", "bound/ratio"
RTF = "rtf/end_to_end"
GOPS, GBYTES_PER_S = "throughput/gops", "throughput/gbytes_per_s"
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
    RTF,
)
"""Metrics in the table, from left to right."""
RATES = ("throughput/tiles_per_s", GOPS, GBYTES_PER_S)
"""Metrics in the place of the RTF for runs that encode no audio."""
SHARES = {GOPS: "throughput/peak_pct", GBYTES_PER_S: "throughput/bandwidth_pct"}
"""Metrics that stand in parentheses behind others, if they have a value."""
DETAILS = ("model/total_ms", "model/residual_pct", GOPS, GBYTES_PER_S)
"""Metrics that a detailed table has too, if any run has a value."""
OCCASIONAL = (OPEN, ALLOC)
"""Metrics that have a column only if a run spends time on them."""
FORMATS: dict[Unit, Callable[[float], str]] = {
    Unit.ms: "{:.3f}".format,
    Unit.share: "{:.1%}".format,
    Unit.percent: "{:+.2f}%".format,
    Unit.factor: "{:.3f}".format,
    Unit.realtime: factor,
    Unit.rate: "{:,.0f}".format,
    Unit.gops: factor,
    Unit.gbytes: factor,
}
CPU = "cpu"
"""Kind of the device whose rows, RTFs and lines say that it is no NPU."""
NAMES_KERNEL = {"workload", "workload.kernel", "workload.model", "workload.chain"}
"""Keys of a request whose column tells kernels apart."""
EXACT = 0.001
"""Intervals narrower than this are not shown."""
FASTEST = "*"
"""Mark of the fastest right run."""
STOPPED_BY_RULE = {
    StopReason.width: "width: the 95 % interval of the median is as narrow as measure.width asks",
    StopReason.noisy: "stable but noisy: the noise no longer changes, and measure.most_repeats "
    "passes would not reach measure.width",
    StopReason.passes: "cap reached: passes: measure.most_repeats passes did not reach "
    "measure.width",
    StopReason.seconds: "cap reached: seconds: measure.most_s seconds did not reach measure.width",
}
"""Why timed passes ended, where that depends on their times, and the line that explains it."""
TIE = 0.001
"""Largest relative difference of two times that count as equal."""


def table(
    records: Sequence[Record],
    speedups: Sequence[Ratio | None],
    folders: Sequence[Path] = (),
    *,
    apart: bool = False,
    detailed: bool = False,
    whole: bool = True,
) -> Sheet:
    """One row per record; columns that have no value in any row are left out.

    CSV and JSON have every metric, and the folder of each record where `folders` are given. apart:
    whether text and Markdown have the folders too. detailed: whether they have DETAILS. whole:
    whether the table has the columns that CSV and JSON need, which are most of its memory.
    """
    swept, marks = _swept(records), fastest(records)
    visible = [
        name
        for name in COLUMNS
        if name not in OCCASIONAL or any(record.metrics.get(name) for record in records)
    ]
    visible += _rates(records)
    if RATES[0] in visible and not any(_encodes(record) for record in records):
        visible.remove(RTF)
    if detailed:
        values = {name: [each.metrics.get(name) for each in records] for name in DETAILS}
        visible += [name for name in DETAILS if set(values[name]) - {None} and name not in visible]
    others = [name for name in METRIC_NAMES if name not in visible and name != SPEEDUP]
    with_speedup = len(records) > 1 and any(speedups)
    with_stop = any(record.stop and record.stop.reason in STOPPED_BY_RULE for record in records)
    columns = [left("", "fastest")] if marks else []
    columns += [left("strategy"), left("run")]
    with_device = "device" not in swept and any(record.device == CPU for record in records)
    columns += [left("device")] * with_device
    unnamed = any(not NAMES_KERNEL & record.settings.keys() for record in records)
    with_kernel = unnamed and len({record.kernel for record in records}) > 1
    columns += [left("kernel")] * with_kernel
    columns += [right(_heading(key), key) for key in swept]
    for name in visible:
        columns.append(right(METRICS[name].heading, name))
        if name == TILE_MS:
            columns.append(right("spread"))
            columns += [left("stop"), hidden("stop_width")] * with_stop
        if name == BOUND_RATIO:
            columns.append(left("bound by"))
    if with_speedup:
        columns.append(right(METRICS[SPEEDUP].heading, SPEEDUP))
        columns += [hidden(f"{SPEEDUP}_low"), hidden(f"{SPEEDUP}_high")]
    columns += [left("verdict"), *map(hidden, others), hidden("reason")]
    columns.append(left("folder") if apart else hidden("folder"))
    places = [each for each, column in enumerate(columns) if whole or column.shown]
    result = Sheet("runs", *(columns[each] for each in places))
    for place, (record, speedup) in enumerate(zip(records, speedups, strict=True)):
        cells: list[Cell | str] = []
        if marks:
            cells.append(Cell(FASTEST if place in marks else "", place in marks))
        cells += [record.preset, record.label, *[record.device] * with_device]
        cells += [record.kernel] * with_kernel
        cells += [_setting(record, key) for key in swept]
        for name in visible:
            cells.append(_cell(record, name))
            if name == TILE_MS:
                cells.append(number(spread(record.samples.total_ns), "{:.1%}"))
                cells += _stop(record) * with_stop
            if name == BOUND_RATIO:
                limit = bound_by(record)
                cells.append(Cell(limit or NOTHING, limit))
        if with_speedup:
            cells += _speedup(speedup)
        cells.append(record.verdict.value)
        cells += [Cell("", record.metrics.get(name)) for name in others]
        folder = str(folders[place]) if folders else None
        cells += [record.reason, Cell(folder or NOTHING, folder)]
        result.add(*(cells[each] for each in places), wrong=not record.ok)
    return result


def _encodes(record: Record) -> bool:
    """Whether a number of the record's tiles or calls encodes audio: then it has an RTF."""
    return record.accounting.encoder_tiles is not None


def _rates(records: Sequence[Record]) -> list[str]:
    """Those of RATES that a run without an RTF has; records before they existed have none."""
    without = [record for record in records if not _encodes(record)]
    if not any(record.metrics.get(GBYTES_PER_S) for record in without):
        return []
    return [name for name in RATES if any(record.metrics.get(name) for record in without)]


def _heading(key: str) -> str:
    """The parts of a key below its group; CSV and JSON have the whole key."""
    return key.partition(".")[2] or key


def _stop(record: Record) -> list[Cell]:
    """Why the timed passes ended, and the relative width of the interval of their median."""
    if not record.stop:
        return [Cell(NOTHING, None), Cell("", None)]
    return [Cell(record.stop.text, record.stop.reason.value), Cell("", record.stop.width)]


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
    the time per tile of the same kernel; both on one `machine`. Of equal runs the first counts; a
    run that has no other to be compared with is not marked, nor one whose outputs were not compared
    (verify=off).
    """
    return {min(group)[1] for group in _compared(records)}


def as_fast(records: Sequence[Record]) -> int:
    """Number of runs without the mark that are as fast as the marked one of their kind."""
    return sum(
        math.isclose(value, best, rel_tol=TIE)
        for (best, _), *others in map(sorted, _compared(records))
        for value, _ in others
    )


def machine(record: Record) -> str:
    """What has run the kernels: the kind of device, and the name of a simulator's profile."""
    return f"{record.device} {record.config['device'].get('profile', '')}"


def _compared(records: Sequence[Record]) -> list[list[tuple[float, int]]]:
    """Right runs of each kind that has several: what is to be small, and the place of the run."""
    groups: dict[tuple[str, ...], list[tuple[float, int]]] = {}
    for place, record in enumerate(records):
        rtf, tile_ms = record.metrics.get("rtf/encoder"), record.metrics.get(TILE_MS)
        proven = record.ok and record.config["verify"] != "off"
        if not proven or not (rtf or tile_ms):
            continue
        key = (machine(record), record.accounting.kind.value, "" if rtf else record.kernel)
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
    if (share := record.metrics.get(SHARES.get(name, ""))) is not None:
        return Cell(f"{FORMATS[unit](value)} ({factor(share)}%)", value)
    of_cpu = " (cpu)" if unit is Unit.realtime and record.device == CPU else ""
    return Cell(f"{FORMATS[unit](value)}{of_cpu}", value)


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
