"""One sentence about a run: what limits it, what its idle time is due to, and what would help."""

from __future__ import annotations

from collections.abc import Iterator

from harness.measure.bottleneck import STAGES
from harness.measure.totals import Totals
from harness.results.record import Record
from harness.results.rtf_gap import bound_by
from harness.study.memory_cost import memory_cost_of
from harness.study.payoff import GAIN, Variants, variants_of
from harness.units import NS_PER_MS, NS_PER_S

AT_BOUND = 1.01
"""A run that takes no longer than this times its bound has no idle time to explain."""
REASONS = {
    "stall_slot_ns": "because no slot is free",
    "stall_host_ns": "because the host is busy",
    "stall_queue_ns": "because another queue is full",
    "fill_ns": "before the first execution",
    "drain_ns": "after the last execution",
}
"""Parts of the idle time in `Totals`, and their reasons in words."""
NAMES = {"columns": "number of columns"}
"""Knobs whose name is not a noun for their value."""
LONG_NS = 10 * NS_PER_S
"""Idle times from here on are in seconds."""


def sentence(record: Record, subject: str = "the run") -> str | None:
    """What limits a run and what would help, in one sentence; None if nothing was timed.

    subject: how the sentence names the run. What would help comes from the model of a pass: see
    `harness.study.payoff`.
    """
    totals, limit = record.totals, bound_by(record)
    if not record.ok or totals is None or limit is None:
        return None
    side, _, _ = limit.partition(":")
    if totals.bound_ns is None:
        return f"{_blind(totals, side, subject)}; without device times, idle time is not visible"
    parts = [_limit(record, totals, side, subject)]
    if totals.tiles == 1:
        parts.append("a single tile has nothing to overlap with")
    elif variants := variants_of(record):
        parts += _remedies(variants, settled=side == "device" and _at_bound(totals))
    parts += _memory(record)
    return "; ".join(parts)


def _memory(record: Record) -> Iterator[str]:
    """What the memory costs, and whether overlap pays beside it."""
    cost = memory_cost_of(record)
    if cost is None or cost.lost < GAIN:
        return
    lost = f"{cost.lost:.0%} of the time"
    if cost.overlap is not None and cost.overlap < GAIN:
        yield f"overlap gains nothing: host and device share the memory, which costs {lost}"
    else:
        yield f"the memory, which host and device share, costs {lost}"


def _blind(totals: Totals, side: str, subject: str) -> str:
    """What limits a run without device timestamps, from the host's work and its waiting."""
    if side == "host":
        return _host(totals, subject)
    waits = totals.wait_ns / totals.makespan_ns
    return f"The device limits {subject}: the host waits for it {waits:.1%} of the time"


def _limit(record: Record, totals: Totals, side: str, subject: str) -> str:
    opening = ""
    if totals.open_ns >= GAIN * totals.makespan_ns:
        share = totals.open_ns / totals.makespan_ns
        opening = f", and opening contexts takes {share:.1%}"
    if side == "host":
        return _host(totals, subject) + opening
    if side == "both":
        return (
            f"Neither the host nor the device limits {subject} alone: "
            f"{_idle(record, totals)}{opening}"
        )
    if _at_bound(totals):
        return f"The device limits {subject}: {_busy(record, totals)}{opening}"
    return f"The device limits {subject}, but {_idle(record, totals)}{opening}"


def _at_bound(totals: Totals) -> bool:
    return totals.makespan_ns - totals.open_ns <= AT_BOUND * (totals.bound_ns or 0)


def _host(totals: Totals, subject: str) -> str:
    stage = max(STAGES, key=lambda name: getattr(totals, f"{name}_ns"))
    tile_ms = getattr(totals, f"{stage}_ns") / totals.tiles / NS_PER_MS
    works = totals.host_ns / totals.makespan_ns
    return (
        f"The host limits {subject}: it works {works:.1%} of the time, "
        f"longest to {stage} ({tile_ms:.3f} ms a tile)"
    )


def _busy(record: Record, totals: Totals) -> str:
    """How much of the time the device executes; of a chain, some kernel."""
    whole_ns = _whole_ns(totals)
    if totals.load_ns and totals.load_ns > (totals.exec_ns or 0):
        return f"loading contexts takes {totals.load_ns / whole_ns:.1%} of its columns' time"
    if _is_chain(record) and whole_ns:
        executes_ns = (totals.busy_ns or 0) - (totals.load_ns or 0)
        return f"some kernel executes {executes_ns / whole_ns:.1%} of the time"
    executes = (totals.exec_ns or 0) / (totals.makespan_ns * totals.columns)
    if totals.columns > 1:
        return f"its {totals.columns} columns execute {executes:.1%} of the time"
    return f"it executes {executes:.1%} of the time"


def _whole_ns(totals: Totals) -> int:
    """The time of all columns; 0 in records of schemas before 6."""
    parts = (totals.busy_ns, totals.stall_ns, totals.fill_ns, totals.drain_ns)
    return 0 if None in parts else sum(each or 0 for each in parts)


def _idle(record: Record, totals: Totals) -> str:
    """How long a column is idle, on average, and the reason of the largest part of that."""
    whole_ns = _whole_ns(totals)
    several = record.knobs.columns > 1
    columns = "the columns are" if several else "the column is"
    if _is_chain(record):  # of whose columns the table's `busy` is a share
        columns = "all kernels of a column are" if several else "all kernels are"
    if not whole_ns:
        return f"{columns} idle for {_ms(totals.stall_ns or 0)} in stalls"
    parts = {reason: getattr(totals, name) for name, reason in REASONS.items()}
    if not _is_chain(record):
        # Kernels of a chain overlap on a column, so their sum is not comparable.
        parts["because launched work began late"] = (totals.busy_ns or 0) - (totals.exec_ns or 0)
    idle = sum(parts.values()) / whole_ns
    time = _ms(idle * (totals.makespan_ns - totals.open_ns))
    reason = max(parts, key=lambda name: parts[name])
    return f"{columns} idle for {time} ({idle:.1%}), mostly {reason}"


def _is_chain(record: Record) -> bool:
    """Whether a tile passes through several kernels."""
    return not record.steps and "+" in record.kernel


def _ms(time_ns: float) -> str:
    return f"{time_ns / NS_PER_MS:,.2f} ms" if time_ns < LONG_NS else f"{time_ns / NS_PER_S:,.1f} s"


def _remedies(variants: Variants, *, settled: bool) -> Iterator[str]:
    """What depth is enough, or would help; and the other knob that would help most.

    settled: the device limits a run that is at its bound.
    """
    found = {knob: variants.best(knob) for knob in variants.limits}
    savings = {knob: share for knob, (_, share) in found.items() if share >= GAIN}
    texts = []
    if settled and "depth" in found and "depth" not in savings:
        depth = found["depth"][0]
        is_less = depth < variants.own.depth
        texts.append(f"a depth of {depth} is enough" if is_less else "more depth gains nothing")
    # Depth first: it needs no other device and no other submissions.
    helpful = [knob for knob in ("depth",) if knob in savings]
    if best := max(savings, key=lambda knob: savings[knob], default=""):
        helpful = list(dict.fromkeys([*helpful, best]))
    texts += [
        f"strategy.{knob}={found[knob][0]} would save {savings[knob]:.0%}" for knob in helpful
    ]
    if not texts and found:
        *others, last = (NAMES.get(knob, knob) for knob in found)
        knobs = f"{', '.join(others)} or {last}" if others else last
        texts.append(f"no other {knobs} would save {GAIN:.0%}")
    basis = " (by the model with this run's stage times)" if variants.by_stages else ""
    if texts:
        yield ", ".join(texts) + basis
