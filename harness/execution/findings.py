"""What an experiment has measured so far, and the verdicts that follow from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from harness.config.device import Device
from harness.device.host.state import MachineState, changes
from harness.execution.agreement import Extreme, Oracle, Verification
from harness.execution.outcome import Verdict
from harness.execution.tile_passes import Pass
from harness.execution.verify import Comparison
from harness.hazard import Hazard
from harness.measure.caching import CacheCheck
from harness.measure.stopping import Stop


@dataclass
class Findings:
    """What an experiment has measured so far; a failure changes nothing of it but the verdict.

    compared, mismatches: tiles compared and tiles wrong. allocations: bos allocated in each timed
    pass. warmup_ns: makespans of the warm-up passes. passes: the timed passes. begin_ns: when they
    began, on the device's clock. stop: why they ended. caching: of passes after them. before,
    after: the machine's state around the timed passes. extremes: the largest error of each kernel
    with a tolerance, by name. remarks: errors that the comparisons cannot detect.
    """

    verdict: Verdict = Verdict.OK
    reason: str = ""
    compared: int = 0
    mismatches: int = 0
    hazards: list[Hazard] = field(default_factory=list)
    allocations: list[int] = field(default_factory=list)
    warmup_ns: list[int] = field(default_factory=list)
    passes: list[Pass] = field(default_factory=list)
    begin_ns: int = 0
    stop: Stop | None = None
    caching: CacheCheck | None = None
    before: MachineState | None = None
    after: MachineState | None = None
    extremes: dict[str, Extreme] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)

    def fail(self, reason: str) -> None:
        """Record that the experiment could not be completed."""
        self.verdict, self.reason = Verdict.FAILED, reason

    def judge_machine(self, device: Device) -> None:
        """The verdict INVALID if the machine changed, or was in another mode than requested."""
        before, after = self.before, self.after
        differences = changes(before, after) if before and after else []
        if differences:
            self.verdict = Verdict.INVALID
            self.reason = f"the machine changed during the timed passes: {'; '.join(differences)}"
        mode_to_hold = device.power_mode_to_hold
        mode = before.power_mode if before else None
        # None: the mode cannot be read, which is no evidence of a wrong one.
        if mode_to_hold and mode not in (None, mode_to_hold.value):
            self.verdict = Verdict.INVALID
            self.reason = f"device.power_mode={mode_to_hold.value}: the device was in mode {mode}"

    def judge_outputs(self, checkers: Sequence[Comparison], where: str) -> bool:
        """Whether all compared outputs are right; if not, the verdict is WRONG."""
        compared = sum(each.compared for each in checkers)
        mismatches = sum(each.mismatches for each in checkers)
        self.compared += compared
        self.mismatches += mismatches
        for each in checkers:
            self.remarks += each.remarks
            for extreme in each.extremes:
                name = extreme.spec.name
                self.extremes[name] = self.extremes.get(name, extreme).or_worse(extreme)
        if mismatches:
            first = next(each.first_mismatch for each in checkers if each.mismatches)
            self.verdict = Verdict.WRONG
            self.reason = f"{first}; {mismatches} of {compared} tiles wrong{where}"
        return not mismatches

    def verification(self, oracle: Oracle) -> Verification:
        """How outputs were verified."""
        agreements = tuple(each.agreement for each in self.extremes.values())
        return Verification(oracle, agreements, tuple(self.remarks))
