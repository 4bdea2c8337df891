"""The outcome of an experiment: verdict, metrics, and the state of the machine."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from harness.config.strategy import Strategy
from harness.config.workload import Accounting
from harness.device.host.state import MachineState
from harness.execution.agreement import Verification
from harness.execution.tile_passes import Step
from harness.hazard import Hazard
from harness.measure.caching import CacheCheck
from harness.measure.metric import Metrics
from harness.measure.rtf import Audio
from harness.measure.stopping import Stop
from harness.measure.timeline import Timeline
from harness.measure.totals import Totals


class Verdict(Enum):
    """How a run ended.

    OK: right outputs, valid times. WRONG: an output is not as expected. HAZARD: wrong use of a
    buffer. FAILED: the device failed, or Ctrl-C. INVALID: right outputs, but the machine changed
    during the timed passes, so the times mean nothing.
    """

    OK = "OK"
    WRONG = "WRONG"
    HAZARD = "HAZARD"
    FAILED = "FAILED"
    INVALID = "INVALID"


@dataclass(frozen=True)
class MachineStates:
    """The machine before and after the timed passes; after: None if it could not be read."""

    before: MachineState
    after: MachineState | None


@dataclass(frozen=True)
class Outcome:
    """One finished experiment.

    kernel: name of the kernel, chain or encoder. strategy: the effective knobs; label: the same
    knobs as text for tables. audio: the audio that the RTF is about; measured_host_ns: measured
    time of its preprocessing. pass_times_ns: makespans of the timed passes, in order; warmup_ns: of
    the warm-up passes. stop: why the timed passes ended; None if they did not end as planned.
    caching: with `measure.cache_check`, on real clocks. verification: how outputs were compared.

    timed_pass: index of the median pass. Metrics, totals, steps and timeline are those of this
    pass; they are None or empty if nothing was timed. timeline: also None if the pass stores no
    spans. machine: None if the machine's state cannot change.
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
    warmup_ns: tuple[int, ...] = ()
    stop: Stop | None = None
    caching: CacheCheck | None = None
    verification: Verification | None = None
