"""What an experiment produces: its verdict, its figures, and the machine that they are from."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from harness.config.strategy import Strategy
from harness.config.workload import Accounting
from harness.device.host.state import MachineState
from harness.measure.metric import Metrics
from harness.measure.rtf import Audio
from harness.measure.timeline import Timeline
from harness.measure.totals import Totals
from harness.run.tile_passes import Step
from harness.sim.hazard import Hazard


class Verdict(Enum):
    """How a run ended."""

    OK = "OK"
    WRONG = "WRONG"
    HAZARD = "HAZARD"
    FAILED = "FAILED"
    INVALID = "INVALID"


@dataclass(frozen=True)
class MachineStates:
    """The machine before and after the timed passes; `after` is None where it could not be read."""

    before: MachineState
    after: MachineState | None


@dataclass(frozen=True)
class Outcome:
    """One finished experiment.

    kernel: name of the kernel, chain or encoder. strategy: the effective knobs; label: as tables
    show them. audio: what the RTF counts; measured_host_ns: its preprocessing as measured.
    pass_times_ns: of the timed passes, in order; `timed_pass` is the index of the median one, which
    metrics, totals, steps and timeline are of. Those are None or empty where nothing was timed, the
    timeline also where a pass keeps no spans. machine: None where its state cannot change.
    """

    kernel: str
    device: str
    phase: str
    strategy: Strategy
    label: str
    accounting: Accounting
    audio: Audio
    measured_host_ns: int
    verdict: Verdict
    reason: str
    metrics: Metrics
    pass_times_ns: tuple[int, ...]
    timed_pass: int | None
    totals: Totals | None
    steps: tuple[Step, ...]
    hazards: tuple[Hazard, ...]
    machine: MachineStates | None
    timeline: Timeline | None
    interrupted: bool = False
