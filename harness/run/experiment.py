"""One experiment: preflight, verification with poisoned outputs, warm-up, timed passes, verdict."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np

from harness.config.device import Hardware, Hazards, Simulator
from harness.config.schema import Config, Verify
from harness.device.host.state import MachineState, changes
from harness.errors import DeviceError, RequestError
from harness.measure.metric import Measurement
from harness.measure.metrics import metrics_of
from harness.measure.stats import median_index
from harness.run.outcome import MachineStates, Outcome, Verdict
from harness.run.prepare import prepare
from harness.run.tile_passes import Pass, Passes
from harness.run.verify import Comparison
from harness.sim.hazard import Hazard

log = logging.getLogger(__name__)

NO_RUNLIST = "no-runlist"
"""In the label of a run whose batches were started run by run: its pyxrt has no runlists."""
Progress = Callable[[str, float], None]
"""Called with the name of each pass when it begins and its completed share, outside of timings."""


@dataclass
class Findings:
    """The state of an experiment under way; a failure leaves what was recorded before it."""

    verdict: Verdict = Verdict.OK
    reason: str = ""
    compared: int = 0
    mismatches: int = 0
    hazards: list[Hazard] = field(default_factory=list)
    allocations: list[int] = field(default_factory=list)
    passes: list[Pass] = field(default_factory=list)
    before: MachineState | None = None
    after: MachineState | None = None

    def fail(self, reason: str) -> None:
        """The experiment ends here."""
        self.verdict, self.reason = Verdict.FAILED, reason


class Experiment:
    """A prepared request: inputs ready, device open. RequestError where it cannot run at all."""

    def __init__(self, config: Config) -> None:
        self._prepared = prepare(config)
        self._config = self._prepared.config
        self._backend = self._prepared.backend
        self._computes = config.verify is Verify.all

    @property
    def remarks(self) -> tuple[str, ...]:
        """A line for every key whose effective value differs from the requested one."""
        return self._prepared.remarks

    def run(self, progress: Progress = lambda name, share: None) -> Outcome:
        """Run it. A failure of the device is a verdict of the outcome, not an exception.

        RequestError where the requested power mode cannot be set: then nothing was run.
        """
        findings, interrupted = Findings(), False
        try:
            with self._backend.power():
                self._measure_started(findings, progress)
        except DeviceError as error:
            log.debug("device failed", exc_info=True)
            findings.fail(str(error))
        except KeyboardInterrupt as error:
            interrupted = True
            findings.fail(f"interrupted; {error.__cause__}" if error.__cause__ else "interrupted")
        if findings.before and not findings.after:
            findings.after = self._backend.read_state()
        self._take_hazards(findings)
        return self._outcome(findings, interrupted)

    def _measure_started(self, findings: Findings, progress: Progress) -> None:
        try:
            self._measure(findings, progress)
        except RequestError as error:  # too late to refuse: passes have run
            findings.fail(str(error))

    @contextmanager
    def _passes(self) -> Iterator[Passes]:
        passes = self._prepared.passes()
        try:
            yield passes
        finally:
            passes.close()

    def _measure(self, findings: Findings, progress: Progress) -> None:
        measure = self._config.measure
        with self._passes() as opened:
            findings.before = self._backend.read_state()
            if self._computes and not self._verified(opened, findings, progress):
                return
            for _ in range(measure.warmup):
                progress("warm-up", 0)
                if not self._pass(opened, findings, "the warm-up"):
                    return
            if measure.warmup:
                self._timed(opened, range(measure.repeats), findings, progress)
                return
        for number in range(measure.repeats):  # each on fresh contexts: cold
            with self._passes() as opened:
                if not self._timed(opened, [number], findings, progress):
                    return

    def _timed(
        self, passes: Passes, numbers: Sequence[int], findings: Findings, progress: Progress
    ) -> bool:
        """Run the timed passes of those numbers between two readings of the machine's state.

        Returns whether all outputs were right.
        """
        repeats = self._config.measure.repeats
        for number in numbers:
            progress(f"pass {number + 1} of {repeats}", 0)
            if number == 0:
                passes.wake()
                findings.before = self._backend.read_state()
            allocated = passes.allocations
            timed = self._pass(passes, findings, f"timed pass {number + 1}")
            if not timed:
                return False
            findings.passes.append(timed)
            findings.allocations.append(passes.allocations - allocated)
            if number == repeats - 1:
                passes.wake()
                findings.after = self._backend.read_state()
        if (
            findings.before
            and findings.after
            and (changed := changes(findings.before, findings.after))
        ):
            findings.verdict = Verdict.INVALID
            findings.reason = f"the machine changed during the timed passes: {'; '.join(changed)}"
        device, before = self._config.device, findings.before
        wanted = device.power_mode if isinstance(device, Hardware) else None
        mode = before.power_mode if before else None
        if wanted and mode not in (None, wanted.value):
            findings.verdict = Verdict.INVALID
            findings.reason = f"device.power_mode={wanted.value}: the device was in mode {mode}"
        return True

    def _verified(self, passes: Passes, findings: Findings, progress: Progress) -> bool:
        progress("verify", 0)
        checkers = passes.verify(lambda share: progress("verify", share))
        return self._without_hazards(findings, "") and self._judge(checkers, findings, "")

    def _pass(self, passes: Passes, findings: Findings, name: str) -> Pass | None:
        """A pass at full speed, if it is right."""
        result, compare = passes.make(self._computes)
        right = self._without_hazards(findings, f" in {name}") and self._judge(
            compare(), findings, f" in {name}"
        )
        return result if right else None

    def _take_hazards(self, findings: Findings) -> None:
        findings.hazards += self._backend.take_hazards()

    def _without_hazards(self, findings: Findings, where: str) -> bool:
        """Whether the passes so far had no hazards, or hazards are no errors here."""
        self._take_hazards(findings)
        device, hazards = self._config.device, findings.hazards
        if not hazards or not isinstance(device, Simulator) or device.hazards is not Hazards.error:
            return True
        findings.verdict = Verdict.HAZARD
        more = f"; {len(hazards) - 1} more in the record" if len(hazards) > 1 else ""
        findings.reason = f"{hazards[0]}{where}{more}"
        return False

    def _judge(self, checkers: Sequence[Comparison], findings: Findings, where: str) -> bool:
        compared, mismatches = (
            sum(getattr(each, name) for each in checkers) for name in ("compared", "mismatches")
        )
        findings.compared += compared
        findings.mismatches += mismatches
        if mismatches:
            first = next(each.first_mismatch for each in checkers if each.mismatches)
            findings.verdict = Verdict.WRONG
            findings.reason = f"{first}; {mismatches} of {compared} tiles wrong{where}"
        return not mismatches

    def _outcome(self, findings: Findings, interrupted: bool) -> Outcome:
        config, prepared = self._config, self._prepared
        sampled = findings.verdict in (Verdict.OK, Verdict.INVALID)
        passes = findings.passes if sampled else []
        times_ns = tuple(each.makespan_ns for each in passes)
        chosen = median_index(times_ns) if times_ns and findings.verdict is Verdict.OK else None
        timed = None if chosen is None else passes[chosen]
        totals = timed.totals if timed else None
        capabilities = self._backend.capabilities
        hazards = sum(hazard.count for hazard in findings.hazards)
        data = Measurement(
            verified=findings.compared,
            mismatches=findings.mismatches,
            hazards=hazards if capabilities.hazards else None,
        )
        if chosen is not None:
            data = replace(
                data,
                totals=totals,
                intervals_ns=np.concatenate([each.intervals_ns for each in passes]),
                audio=prepared.audio,
                allocations=findings.allocations[chosen],
            )
        without_runlists = config.strategy.batch > 1 and not capabilities.batches
        return Outcome(
            kernel=prepared.name,
            device=config.device.kind,
            phase=config.phase.name,
            strategy=config.strategy,
            label=config.strategy.label + (f" {NO_RUNLIST}" if without_runlists else ""),
            accounting=config.workload.accounting,
            audio=prepared.audio,
            measured_host_ns=prepared.measured_host_ns,
            verdict=findings.verdict,
            reason=findings.reason,
            metrics=metrics_of(data),
            pass_times_ns=times_ns,
            timed_pass=chosen,
            totals=totals,
            steps=timed.steps if timed else (),
            hazards=tuple(findings.hazards),
            machine=MachineStates(findings.before, findings.after) if findings.before else None,
            timeline=timed.timeline() if timed else None,
            interrupted=interrupted,
        )
