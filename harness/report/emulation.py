"""The report of an emulated script: its calls, what the device did, and its hazards."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.hazard import Hazard
from harness.measure.timeline import Spans
from harness.report.tables import Part, Sheet, left, number, right
from harness.sim.call_log import STAGES, CallLog, stage_of
from harness.sim.machine import Machine
from harness.units import ns_to_ms

HAZARD = "\nhazard "
"""Begin of the text about a hazard."""
NO_CALLS = (
    "nothing was emulated: the script made no call of pyxrt; often it looks for a device itself "
    "(/dev/accel/accel0, xrt-smi, lspci), does not find one, and computes without it"
)
"""In place of the number of hazards: without a call none can be detected."""


@dataclass(frozen=True)
class Emulation:
    """An ended script. trace: int64 (n, 5) of is_load, context, column, start_ns, end_ns."""

    script: str
    machine: Machine
    log: CallLog
    trace: Spans
    hazards: list[Hazard]


def parts(emulation: Emulation) -> list[Part]:
    """What is printed, from top to bottom."""
    machine, log, hazards = emulation.machine, emulation.log, emulation.hazards
    total_ns = max((end for _, _, end, _, _ in log.spans), default=0)
    calls, clock = sum(log.counts.values()), machine.profile.clock.value
    report: list[Part] = [
        f"{emulation.script}: {calls} calls, {ns_to_ms(total_ns):.3f} ms of {clock} time"
    ]
    if log.counts:
        report += [_calls(log), _host(log)]
    report += _columns(emulation.trace)
    report += [f"note: {line}" for line in machine.notes]
    if machine.aborted:
        report.append(f"process ended: {machine.aborted}")
    report += [_hazard(hazard) for hazard in hazards]
    if not log.counts:
        report.append(NO_CALLS)
    elif machine.sanitizer is not None:
        count = sum(hazard.count for hazard in hazards)
        report.append(f"hazards: {count} in {len(hazards)} places" if hazards else "hazards: none")
    return report


def _calls(log: CallLog) -> Sheet:
    """A row per call of the API."""
    columns = left("call"), right("count"), right("ms"), right("us each"), left("stage")
    sheet = Sheet("calls", *columns)
    for call, count in log.counts.items():
        spent_ns = log.totals_ns[call]
        sheet.add(
            call,
            number(count, "{}"),
            number(ns_to_ms(spent_ns), "{:.3f}"),
            number(spent_ns / count / 1000, "{:.1f}"),
            stage_of(call),
        )
    return sheet


def _host(log: CallLog) -> str:
    """The host's time by stage."""
    by_stage = dict.fromkeys(STAGES, 0)
    for call, spent_ns in log.totals_ns.items():
        by_stage[stage_of(call)] += spent_ns
    shares = [f"{stage} {ns_to_ms(spent):.3f} ms" for stage, spent in by_stage.items() if spent]
    return f"host: {', '.join(shares)}"


def _columns(trace: Spans) -> list[str]:
    """What each column did: executions, utilisation, and gaps in which it had nothing to do."""
    lines = []
    for column in np.unique(trace[:, 2]):
        rows = trace[trace[:, 2] == column]
        # The trace is sorted by context, and contexts that share a column take turns.
        rows = rows[np.argsort(rows[:, 3], kind="stable")]
        executions = rows[rows[:, 0] == 0]
        busy_ns = int((executions[:, 4] - executions[:, 3]).sum())
        gaps = rows[1:, 3] - rows[:-1, 4]
        stalls = gaps[gaps > 0]
        span_ns = int(rows[:, 4].max() - rows[:, 3].min())
        busy_pct = 100 * busy_ns / span_ns if span_ns else 0
        lines.append(
            f"column {column}: {len(executions)} executions in {ns_to_ms(busy_ns):.3f} ms, "
            f"{busy_pct:.1f} % busy from first to last; "
            f"{len(stalls)} stalls of {ns_to_ms(int(stalls.sum())):.3f} ms in all"
        )
    return lines


def _hazard(hazard: Hazard) -> str:
    times = f" ({hazard.count} times)" if hazard.count > 1 else ""
    lines = [f"{HAZARD}{hazard.kind.value}{times}: {hazard.kind.explanation}"]
    lines.append(f"  {hazard.later}")
    if hazard.earlier:
        lines.append(f"  after {hazard.earlier}")
    span = f", bytes {hazard.low} to {hazard.high}" if hazard.high else ""
    run = f"; {hazard.run}" if hazard.run else ""
    lines.append(f"  {hazard.bo}{span}{run}")
    lines.append(f"  remedy: {hazard.kind.remedy}")
    return "\n".join(lines)
