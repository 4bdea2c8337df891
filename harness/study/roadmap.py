"""The programme of phases, from stored records alone: what each measured, and what binds it. Nothing is multiplied."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import HarnessError, RequestError
from harness.results.record import FILE_NAME, Record, config_hash
from harness.results.rtf_gap import rtf_gap

PHASES = ("baseline", "dma", "multicore", "fusion", "memory")
ACCOUNTINGS = ("guide", "full")
COMMAND = f"python -m harness -m phase={','.join(PHASES)}"
CHANGED_BY_PHASE = ("strategy", "depth", "phase", "workload", "tracking", "verify")
"""Of the configuration: what phases are free to differ in, and what changes no time."""

MLFLOW_COPIES = "artifacts"
"""Name of the folders that MLflow's copies of records are in, one for each run."""


@dataclass(frozen=True)
class Measured:
    """One run of a phase: realtime factors, the speed-up still needed to the target, and what binds."""

    record: str
    label: str
    rtf: float
    ceiling: float | None
    further: float
    bottleneck: str
    verified: bool


@dataclass(frozen=True)
class Row:
    """A phase: what the guide expects of it, and its newest right run by each accounting; None where there is none."""

    phase: str
    goal: str
    guide_target: str
    guide_rtf: tuple[float, ...]
    guide: Measured | None
    full: Measured | None


@dataclass(frozen=True)
class Roadmap:
    """Rows in the order of the programme, of one device and encoder; remarks: what is to be known of them."""

    device: str
    model: str
    rows: tuple[Row, ...]
    remarks: tuple[str, ...]


def read(outputs: Path) -> tuple[list[tuple[Record, Path]], int]:
    """Records of phases below a folder, oldest first, with their folders; and how many could not be read."""
    found, unreadable = [], 0
    for path in outputs.glob(f"**/{FILE_NAME}"):
        if path.parent.name == MLFLOW_COPIES:
            continue
        try:
            record = Record.load(path.parent)
            if record.phase in PHASES and record.config["workload"].get("model"):
                rtf_gap(record)
                found.append((record, path.parent))
        except (HarnessError, TypeError, KeyError):  # of a record that lacks something
            unreadable += 1
    return sorted(found, key=lambda each: each[0].created), unreadable


def roadmap(found: Sequence[tuple[Record, Path]], unreadable: int = 0) -> Roadmap:
    """The newest right run of each phase and accounting, of the device and encoder of the newest of all.

    RequestError where there is none.
    """
    right = [(record, folder) for record, folder in found if record.ok and rtf_gap(record)]
    if not right:
        failed = f" ({len(found)} runs of phases, none of them right and timed)" if found else ""
        raise RequestError(f"no phase has been run here{failed}; run {COMMAND}")
    device, model = _about(right[-1][0])
    ours = [(record, folder) for record, folder in right if _about(record) == (device, model)]
    newest = {
        (record.phase, record.accounting["kind"]): (record, folder) for record, folder in ours
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
        told: dict[str, Any] = known.config["phase"] if known else {}
        measured = {kind: _measured(*each) if each else None for kind, each in by_kind.items()}
        expected = (
            told.get("goal", ""),
            told.get("guide_target", ""),
            tuple(told.get("guide_rtf", ())),
        )
        rows.append(Row(phase, *expected, measured["guide"], measured["full"]))
    return Roadmap(device, model, tuple(rows), tuple(remarks))


def _about(record: Record) -> tuple[str, str]:
    return record.device, str(record.config["workload"]["model"])


def _verified(record: Record) -> bool:
    return bool(record.config["verify"] == "all")


def _measured(record: Record, folder: Path) -> Measured:
    stands, metrics = rtf_gap(record), record.metrics
    assert stands is not None  # others are left out
    return Measured(
        record=str(folder),
        label=record.label,
        rtf=float(metrics["rtf/end_to_end"] or 0),
        ceiling=metrics["rtf/ceiling"],
        further=stands.further,
        bottleneck=stands.bottleneck,
        verified=_verified(record),
    )


def _differing(records: Iterable[Record]) -> list[str]:
    """A line where rows are of other settings than the newest, which makes them no comparison."""
    ordered = sorted(records, key=lambda record: record.created)
    wanted = _setting(ordered[-1])
    others = [
        f"{record.phase} ({record.accounting['kind']})"
        for record in ordered
        if _setting(record) != wanted
    ]
    if not others:
        return []
    return [
        f"run with other settings than the newest, so not to be compared with it: {', '.join(others)}"
    ]


def _setting(record: Record) -> str:
    """Device, measuring, seed, and what is encoded, beyond what phases differ in."""
    kept = {key: value for key, value in record.config.items() if key not in CHANGED_BY_PHASE}
    workload = {
        key: value
        for key, value in record.config["workload"].items()
        if key not in ("accounting", "fused")
    }
    return config_hash({**kept, "workload": workload})
