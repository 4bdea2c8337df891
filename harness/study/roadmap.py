"""The phases of the optimisation programme, from stored records: the RTF of each, and its limit.

Every figure is that of one run; no speed-ups are multiplied.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import HarnessError, RequestError
from harness.results.identity import phase_setting
from harness.results.record import FILE_NAME, Record
from harness.results.rtf_gap import rtf_gap

PHASES = ("baseline", "dma", "multicore", "fusion", "memory")
ACCOUNTINGS = ("guide", "full")
COMMAND = f"python -m harness -m phase={','.join(PHASES)}"
MLFLOW_COPIES = "artifacts"
"""Name of the folders that hold MLflow's copies of records, one per run."""


@dataclass(frozen=True)
class Measured:
    """One run of a phase: its RTF, the speed-up still needed to the target, and its bottleneck."""

    record: str
    label: str
    rtf: float
    ceiling: float | None
    further: float
    bottleneck: str
    verified: bool


@dataclass(frozen=True)
class Row:
    """A phase: what the guide expects of it, and its newest right run by each accounting."""

    phase: str
    goal: str
    guide_target: str
    guide_rtf: tuple[float, ...]
    guide: Measured | None
    full: Measured | None


@dataclass(frozen=True)
class Roadmap:
    """Rows in the order of the phases, of one device and encoder; remarks: their limitations."""

    device: str
    model: str
    rows: tuple[Row, ...]
    remarks: tuple[str, ...]


def read(outputs: Path) -> tuple[list[tuple[Record, Path]], int]:
    """Records of phases below a folder, oldest first, each with its folder.

    Also returns how many records are unreadable.
    """
    records, unreadable = [], 0
    for path in outputs.glob(f"**/{FILE_NAME}"):
        if path.parent.name == MLFLOW_COPIES:
            continue
        try:
            record = Record.load(path.parent)
            if record.phase in PHASES and record.config["workload"].get("model"):
                records.append((record, path.parent))
        except (HarnessError, KeyError):  # a configuration without a workload
            unreadable += 1
    return sorted(records, key=lambda each: each[0].created), unreadable


def roadmap(records: Sequence[tuple[Record, Path]], unreadable: int = 0) -> Roadmap:
    """The newest right run of each phase and accounting, of the newest one's device and encoder.

    RequestError where there is none.
    """
    right = [(record, folder) for record, folder in records if record.ok and rtf_gap(record)]
    if not right:
        number = len(records)
        failed = f" ({number} runs of phases, none of them right and timed)" if records else ""
        raise RequestError(f"no phase has been run here{failed}; run {COMMAND}")
    device, model = _about(right[-1][0])
    ours = [(record, folder) for record, folder in right if _about(record) == (device, model)]
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
    if unverified := [
        f"{phase} ({kind})"
        for (phase, kind), (record, _) in newest.items()
        if not _verified(record)
    ]:
        remarks.append(f"outputs not compared (verify=off): {', '.join(unverified)}")
    rows = []
    for phase in PHASES:
        by_kind = {kind: newest.get((phase, kind)) for kind in ACCOUNTINGS}
        known = next((each[0] for each in by_kind.values() if each), None)
        guide = known.config["phase"] if known else {}
        measured = {kind: _measured(*each) if each else None for kind, each in by_kind.items()}
        expected = (
            guide.get("goal", ""),
            guide.get("guide_target", ""),
            tuple(guide.get("guide_rtf", ())),
        )
        rows.append(Row(phase, *expected, measured["guide"], measured["full"]))
    return Roadmap(device, model, tuple(rows), tuple(remarks))


def _about(record: Record) -> tuple[str, str]:
    return record.device, str(record.config["workload"]["model"])


def _verified(record: Record) -> bool:
    return bool(record.config["verify"] == "all")


def _measured(record: Record, folder: Path) -> Measured:
    gap, metrics = rtf_gap(record), record.metrics
    assert gap is not None  # `roadmap` leaves out records without
    return Measured(
        record=str(folder),
        label=record.label,
        rtf=float(metrics["rtf/end_to_end"] or 0),
        ceiling=metrics["rtf/ceiling"],
        further=gap.further,
        bottleneck=gap.bottleneck,
        verified=_verified(record),
    )


def _differing(records: Iterable[Record]) -> list[str]:
    """A line that names the rows whose setting differs from the newest row's."""
    ordered = sorted(records, key=lambda record: record.created)
    wanted = phase_setting(ordered[-1].config)
    others = [
        f"{record.phase} ({record.accounting.kind.value})"
        for record in ordered
        if phase_setting(record.config) != wanted
    ]
    if not others:
        return []
    return [
        "run with other settings than the newest, so not to be compared with it: "
        + ", ".join(others)
    ]
