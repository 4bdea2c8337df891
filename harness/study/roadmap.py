"""The roadmap: RTF and bottleneck of each optimisation phase, from records.

Every figure comes from one run; speed-ups are not multiplied.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.config.presets import phase_settings
from harness.errors import HarnessError, RequestError
from harness.results.find import record_files
from harness.results.identity import phase_setting
from harness.results.record import Record
from harness.results.rtf_gap import rtf_gap

PHASES = ("baseline", "dma", "multicore", "fusion", "memory")
ACCOUNTINGS = ("guide", "full")
COMMAND = f"python -m harness -m phase={','.join(PHASES)}"


@dataclass(frozen=True)
class PhaseRun:
    """One run of a phase.

    record: its folder. rtf, ceiling: the metrics rtf/end_to_end and rtf/ceiling. speedup_needed:
    speed-up that the target still needs. bottleneck: what limits the run. verified: outputs were
    compared.
    """

    record: str
    label: str
    rtf: float
    ceiling: float | None
    speedup_needed: float
    bottleneck: str
    verified: bool


@dataclass(frozen=True)
class Row:
    """A phase: the guide's expectation, and its newest run with correct outputs by accounting."""

    phase: str
    goal: str
    guide_target: str
    guide_rtf: tuple[float, ...]
    guide: PhaseRun | None
    full: PhaseRun | None


@dataclass(frozen=True)
class Roadmap:
    """The rows of all phases, in order, for one device and encoder; remarks: their limitations."""

    device: str
    model: str
    rows: tuple[Row, ...]
    remarks: tuple[str, ...]


def read(outputs: Path) -> tuple[list[tuple[Record, Path]], int]:
    """The records of phases below a folder, oldest first, each with its folder.

    Also returns the number of records that cannot be read.
    """
    records, unreadable = [], 0
    for path in record_files(outputs):
        try:
            record = Record.load(path.parent)
            # Phases are those of an encoder; the run of a kernel has no model.
            if record.phase in PHASES and record.config["workload"].get("model"):
                records.append((record, path.parent))
        # KeyError: the stored configuration has no workload.
        except (HarnessError, KeyError):
            unreadable += 1
    return sorted(records, key=lambda each: each[0].created), unreadable


def roadmap(records: Sequence[tuple[Record, Path]], unreadable: int = 0) -> Roadmap:
    """The newest run with correct outputs of each phase and accounting.

    Device and encoder are those of the newest such run; others are left out, with a remark.
    RequestError if there is no such run.
    """
    right = [(record, folder) for record, folder in records if record.ok and rtf_gap(record)]
    if not right:
        number = len(records)
        failed = f" ({number} runs of phases, none with correct outputs and times)"
        raise RequestError(f"no phase has been run here{failed if records else ''}; run {COMMAND}")
    device, model = _about(right[-1][0])
    ours = [(record, folder) for record, folder in right if _about(record) == (device, model)]
    # Sorted by time, so the newest run of a key is the last one and stays.
    newest = {
        (record.phase, record.accounting.kind.value): (record, folder) for record, folder in ours
    }
    remarks = []
    if len(ours) < len(right):
        others = sorted({" ".join(_about(record)) for record, _ in right} - {f"{device} {model}"})
        remarks.append(f"left out: runs of {', '.join(others)}")
    if unreadable:
        remarks.append(f"left out: {unreadable} records that cannot be read")
    remarks += _differing([record for record, _ in newest.values()])
    missing = [
        f"{phase} ({kind})"
        for phase in PHASES
        for kind in ACCOUNTINGS
        if (phase, kind) not in newest
    ]
    if missing:
        remarks.append(f"not run yet: {', '.join(missing)}; {COMMAND} runs all")
    unverified = [
        f"{phase} ({kind})" for (phase, kind), (each, _) in newest.items() if not _verified(each)
    ]
    if unverified:
        remarks.append(f"outputs not compared (verify=off): {', '.join(unverified)}")
    rows = []
    for phase in PHASES:
        by_kind = {kind: newest.get((phase, kind)) for kind in ACCOUNTINGS}
        # The guide's expectation is the same in both accountings.
        # A record has the phase as it was when it ran, also a phase of the user's own folder.
        known = next((each[0] for each in by_kind.values() if each), None)
        guide = known.config["phase"] if known else phase_settings(phase)
        measured = {kind: _phase_run(*each) if each else None for kind, each in by_kind.items()}
        expected = (
            guide.get("goal", ""),
            guide.get("guide_target", ""),
            tuple(guide.get("guide_rtf", ())),
        )
        rows.append(Row(phase, *expected, measured["guide"], measured["full"]))
    return Roadmap(device, model, tuple(rows), tuple(remarks))


def _about(record: Record) -> tuple[str, str]:
    """Device and encoder of a run."""
    return record.device, str(record.config["workload"]["model"])


def _verified(record: Record) -> bool:
    return bool(record.config["verify"] != "off")


def _phase_run(record: Record, folder: Path) -> PhaseRun:
    gap, metrics = rtf_gap(record), record.metrics
    # `roadmap` leaves out records without a gap.
    assert gap is not None
    return PhaseRun(
        record=str(folder),
        label=record.label,
        rtf=float(metrics["rtf/end_to_end"] or 0),
        ceiling=metrics["rtf/ceiling"],
        speedup_needed=gap.speedup_needed,
        bottleneck=gap.bottleneck,
        verified=_verified(record),
    )


def _differing(records: Iterable[Record]) -> list[str]:
    """A remark that names the rows with other settings than the newest row; empty if none has."""
    ordered = sorted(records, key=lambda record: record.created)
    newest = phase_setting(ordered[-1].config)
    others = [
        f"{record.phase} ({record.accounting.kind.value})"
        for record in ordered
        if phase_setting(record.config) != newest
    ]
    if not others:
        return []
    return [f"other settings than the newest row, so not comparable with it: {', '.join(others)}"]
