"""One experiment: preflight, verification with poisoned outputs, warm-up, timed passes, and what they say."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from harness.config.compose import Config, Verify
from harness.config.device import Hardware, Hazards, Simulator
from harness.device.host.state import MachineState, changes
from harness.errors import DeviceError, RequestError
from harness.measure.metrics import METRIC_NAMES, Metrics, metrics_of, rtf_metrics
from harness.measure.stats import median_index
from harness.measure.timeline import Timeline
from harness.results.record import Record, Verdict, config_hash, environment, given
from harness.run.prepare import prepare
from harness.run.tile_passes import Pass, Passes, Step
from harness.run.verify import Comparison
from harness.sim.hazard import Hazard

log = logging.getLogger(__name__)

NO_RUNLIST = "no-runlist"
"""In the label of a run whose batches were started run by run: its pyxrt has no runlists."""
Progress = Callable[[str, float], None]
"""Told the name of each pass when it begins, and the share of it that is done where that disturbs nothing."""


@dataclass
class Findings:
    """What an experiment has found so far; a failure leaves what was found before it."""

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


@dataclass(frozen=True)
class Outcome:
    """A record, and the timeline of the pass that its metrics are of (None where nothing was timed)."""

    record: Record
    timeline: Timeline | None
    interrupted: bool = False


class Experiment:
    """A prepared request: inputs made, device open. RequestError where it cannot run at all."""

    def __init__(
        self, config: Config, resolved: dict[str, Any], preset: str, overrides: list[str]
    ) -> None:
        self._prepared = prepare(config)
        self._config = self._prepared.config
        self._world = self._prepared.world
        self._resolved = resolved
        self._preset = preset
        self._overrides = overrides
        self._computes = config.verify is Verify.all

    @property
    def remarks(self) -> tuple[str, ...]:
        """What to say of keys whose values come to something else here."""
        return self._prepared.remarks

    def run(self, progress: Progress = lambda name, share: None) -> Outcome:
        """Run it. Whatever fails on the way is a verdict in the record, not an exception.

        RequestError where the power mode that is asked for cannot be had: then nothing was run.
        """
        findings, interrupted = Findings(), False
        try:
            with self._world.power():
                self._begun(findings, progress)
        except DeviceError as error:
            log.debug("device failed", exc_info=True)
            findings.fail(str(error))
        except KeyboardInterrupt as error:
            interrupted = True
            findings.fail(f"interrupted; {error.__cause__}" if error.__cause__ else "interrupted")
        if findings.before and not findings.after:
            findings.after = self._world.read_state()
        self._take_hazards(findings)
        return self._outcome(findings, interrupted)

    def _begun(self, findings: Findings, progress: Progress) -> None:
        try:
            self._measure(findings, progress)
        except RequestError as error:  # too late to refuse: something was run
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
            findings.before = self._world.read_state()
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
        """Timed passes of those numbers, between two readings of the machine; returns whether all were right."""
        repeats = self._config.measure.repeats
        for number in numbers:
            progress(f"pass {number + 1} of {repeats}", 0)
            if number == 0:
                passes.wake()
                findings.before = self._world.read_state()
            allocated = passes.allocations
            made = self._pass(passes, findings, f"timed pass {number + 1}")
            if not made:
                return False
            findings.passes.append(made)
            findings.allocations.append(passes.allocations - allocated)
            if number == repeats - 1:
                passes.wake()
                findings.after = self._world.read_state()
        if (
            findings.before
            and findings.after
            and (changed := changes(findings.before, findings.after))
        ):
            findings.verdict = Verdict.INVALID
            findings.reason = f"the machine changed during the timed passes: {'; '.join(changed)}"
        device, told = self._config.device, findings.before and findings.before.power_mode
        wanted = device.power_mode if isinstance(device, Hardware) else None
        if wanted and told not in (None, wanted.value):
            findings.verdict = Verdict.INVALID
            findings.reason = f"device.power_mode={wanted.value}: the device was in mode {told}"
        return True

    def _verified(self, passes: Passes, findings: Findings, progress: Progress) -> bool:
        progress("verify", 0)
        checkers = passes.verify(lambda share: progress("verify", share))
        return self._without_hazards(findings, "") and self._judge(checkers, findings, "")

    def _pass(self, passes: Passes, findings: Findings, name: str) -> Pass | None:
        """A pass at full speed, if it is right."""
        made, compare = passes.make(self._computes)
        right = self._without_hazards(findings, f" in {name}") and self._judge(
            compare(), findings, f" in {name}"
        )
        return made if right else None

    def _take_hazards(self, findings: Findings) -> None:
        findings.hazards += self._world.take_hazards()

    def _without_hazards(self, findings: Findings, where: str) -> bool:
        """Whether the passes so far used their buffers rightly, or nobody minds."""
        self._take_hazards(findings)
        device, found = self._config.device, findings.hazards
        if not found or not isinstance(device, Simulator) or device.hazards is not Hazards.error:
            return True
        findings.verdict = Verdict.HAZARD
        more = f"; {len(found) - 1} more in the record" if len(found) > 1 else ""
        findings.reason = f"{found[0]}{where}{more}"
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
        config, kept = self._config, (Verdict.OK, Verdict.INVALID)
        passes = findings.passes if findings.verdict in kept else []
        times_ns = [made.makespan_ns for made in passes]
        chosen = median_index(times_ns) if times_ns and findings.verdict is Verdict.OK else None
        audio = self._prepared.audio
        metrics: Metrics = dict.fromkeys(METRIC_NAMES)
        timeline, totals, steps = None, None, list[Step]()
        if chosen is not None:
            made = passes[chosen]
            timeline, totals, steps = made.timeline(), made.totals, list(made.steps)
            metrics |= metrics_of(totals, np.concatenate([each.intervals_ns for each in passes]))
            metrics |= rtf_metrics(totals, audio) | {
                "alloc/steady_state": findings.allocations[chosen]
            }
        metrics |= {"verify/tiles": findings.compared, "verify/mismatches": findings.mismatches}
        if self._world.capabilities.hazards:
            metrics["hazard/count"] = sum(hazard.count for hazard in findings.hazards)
        name, device, before, after = (
            self._prepared.name,
            config.device.kind,
            findings.before,
            findings.after,
        )
        plain = config.strategy.batch > 1 and not self._world.capabilities.batches
        label = f"{config.strategy.label} {NO_RUNLIST}" if plain else config.strategy.label
        swept = [
            f"{key}={value}" for key, value in given(self._overrides).items() if key != "device"
        ]
        record = Record(
            name=" ".join([label, name, device, *swept]),
            label=label,
            preset=self._preset,
            phase=config.phase.name,
            device=device,
            kernel=name,
            verdict=findings.verdict,
            reason=findings.reason,
            metrics=metrics,
            samples={"total_ns": times_ns},
            timed_pass=chosen,
            accounting={
                "kind": config.workload.accounting.value,
                "audio_s": audio.seconds,
                "host_ms": audio.host_ns / 1e6,
                "measured_host_ms": self._prepared.measured_host_ns / 1e6,
                "encoder_tiles": audio.tiles,
                "overlap_host": audio.overlaps,
            },
            totals=asdict(totals) if totals else None,
            steps=[asdict(step) for step in steps],
            config=self._resolved,
            config_hash=config_hash(self._resolved),
            knobs=asdict(config.strategy),
            overrides=self._overrides,
            environment=environment(),
            machine={"before": asdict(before), "after": after and asdict(after)}
            if before
            else None,
            hazards=[asdict(hazard) | {"kind": hazard.kind.value} for hazard in findings.hazards],
        )
        return Outcome(record, timeline, interrupted)
