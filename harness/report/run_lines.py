"""The lines below the table of runs: what a row is, what failed, and what the figures cover."""

from __future__ import annotations

from collections.abc import Sequence

from harness.config.device import Simulator
from harness.config.execution_time import cost_remark
from harness.config.stored import config_of
from harness.errors import RequestError
from harness.execution.agreement import Oracle
from harness.execution.tile_passes import Step
from harness.report.processor import processor_lines
from harness.report.runs import (
    CPU,
    FASTEST,
    STOPPED_BY_RULE,
    TIE,
    TILE_MS,
    as_fast,
    fastest,
    machine,
)
from harness.report.time_spent import sentence
from harness.results.record import Record
from harness.results.rtf_gap import rtf_gap, sums_by_kernel
from harness.results.run_key import kernel_of_run
from harness.units import NS_PER_MS, NS_PER_S, NS_PER_US

LEAST_BOUND_RATIO = 0.99
"""Ratio of a pass to its bound below which a line reports that it cannot be."""
MOST_SELF_SHARE = 0.05
"""Share of the harness's own work in the time of a tile above which a line reports it."""


def lines_below(records: Sequence[Record], *, explained: bool = True) -> list[str]:
    """All lines below the table of these records.

    explained: whether the sentence about the only or fastest run is one of them. It takes
    milliseconds, so the jobs of a sweep leave it out.
    """
    why = _sentence(records) if explained else []
    return [*legend(records), *why, *failures(records), *footnotes(records)]


def _sentence(records: Sequence[Record]) -> list[str]:
    """What limits the only run, or the fastest one; none if several are the fastest of a kind."""
    if len(records) == 1:
        return list(filter(None, [sentence(records[0])]))
    marks = fastest(records)
    if len(marks) != 1:
        return []
    (best,) = (records[place] for place in marks)
    return list(filter(None, [sentence(best, best.label)]))


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
    reasons = {record.stop.reason for record in records if record.stop}
    lines += [line for reason, line in STOPPED_BY_RULE.items() if reason in reasons]
    if cold := [record for record in records if record.samples.cold and record.samples.total_ns]:
        labels = dict.fromkeys(record.label for record in cold)
        which = "every row" if len(cold) == len(records) else ", ".join(labels)
        lines.append(f"cold, each pass on new contexts (measure.warmup=0): {which}")
    if marks := fastest(records):
        devices = "device, " if len({machine(record) for record in records}) > 1 else ""
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
        lines += _verified(record)
    for record in records:
        if record.ok and record.hazards:
            count = record.metrics["hazard/count"]
            lines.append(f"OK {record.label}, despite {count} hazards (device.hazards=report)")
    completed = [record for record in records if record.ok]
    lines += [line for record in completed if (line := _own_work(record))]
    lines += [line for record in completed if (line := _cached(record))]
    lines += [line for record in completed if (line := _below_bound(record))]
    lines += [line for record in completed for line in _costs(record)]
    for record in completed:
        lines += _counted(record)
    # A dict keeps the last of equal keys: of each accounting, the run with the largest RTF.
    best = {record.accounting.kind: record for record in sorted(completed, key=_rtf)}
    for record in best.values():
        if record.config.get("workload", {}).get("model"):
            lines += _remedies(record)
    return list(dict.fromkeys(lines))


def _verified(record: Record) -> list[str]:
    """What the OK of a run does not prove, beyond that of other runs."""
    verification = record.verification
    if not record.ok or not verification:
        return []
    lines = []
    if verification.oracle is Oracle.device:
        lines.append(
            f"{record.kernel}: outputs are compared with those of a serial pass on the same device "
            "(verify=device): OK says nothing about what the kernel computes"
        )
    return [*lines, *verification.remarks]


def agreements(record: Record) -> list[str]:
    """How close outputs are to the expected ones, for each kernel with a tolerance."""
    if not record.verification:
        return []
    return [
        f"{each.kernel}: {each.text} (tolerance: {each.tolerance}; {each.reason})"
        for each in record.verification.agreements
    ]


def _costs(record: Record) -> list[str]:
    """Where the times of kernels come from that the profile of a simulated device lacks."""
    if record.config.get("device", {}).get("kind") != "simulator":
        return []
    try:
        config = config_of(record.config, record.knobs)
        hashes, names = record.kernel_hashes, config.workload.kernels
        specs = [kernel_of_run(name, hashes) for name in names]
        if not isinstance(config.device, Simulator) or all(each.cost is None for each in specs):
            return []
        return list(filter(None, (cost_remark(config.device, each) for each in specs)))
    except RequestError:
        # A record of an earlier version, or of a kernel that has changed since.
        return []


def _own_work(record: Record) -> str | None:
    """How much of the time of a tile is the harness's own; None if it is little or not visible."""
    own_us, tile_ms = record.metrics["harness/self_us"], record.metrics[TILE_MS]
    share = own_us * NS_PER_US / (tile_ms * NS_PER_MS) if own_us and tile_ms else 0
    if share <= MOST_SELF_SHARE:
        return None
    return f"{record.label}: {share:.1%} of the time is the harness's own work (harness/self_us)"


def _cached(record: Record) -> str | None:
    """How much faster one input is that is repeated; None if it is not, or was not checked."""
    if not record.caching or not record.caching.is_cached:
        return None
    gain = record.caching.ratio.ratio - 1
    return (
        f"{record.label}: one input again and again is {gain:.0%} faster than inputs in turn: "
        "something caches results, so new inputs may take longer than this row"
    )


def _below_bound(record: Record) -> str | None:
    """That a pass took less time than any pass can; None if it did not."""
    ratio = record.metrics["bound/ratio"]
    if ratio is None or ratio >= LEAST_BOUND_RATIO:
        return None
    return (
        f"{record.label}: the pass took {ratio:.1%} of its bound, the shortest time with its stage "
        "times: these contradict each other; do not compare this row"
    )


def _rtf(record: Record) -> float:
    return record.metrics["rtf/end_to_end"] or 0


def _counted(record: Record) -> list[str]:
    """What the RTF counts; of an encoder also which calls ran, and the share of each kernel."""
    basis, steps = record.accounting, record.steps
    tiles = basis.encoder_tiles
    begin = f"RTF ({basis.kind.value} accounting): "
    if tiles is None and not basis.audio_s:
        return []
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
