"""Runs one experiment: verification with poisoned outputs, warm-up, timed passes, verdict."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from harness.config.schema import Config, Measure
from harness.device.backend import MONOTONIC
from harness.errors import DeviceError, RequestError
from harness.execution.agreement import Oracle
from harness.execution.findings import Findings
from harness.execution.oracle import ORACLES
from harness.execution.outcome import MachineStates, Outcome, Verdict
from harness.execution.predict import NotModelledError, predicted_ns
from harness.execution.prepare import prepare
from harness.execution.tile_passes import Pass, Passes
from harness.measure.caching import TURNS, CacheCheck
from harness.measure.metric import Measurement
from harness.measure.metrics import metrics_of
from harness.measure.stats import median_index
from harness.measure.stopping import StopReason, StopRule
from harness.units import NS_PER_S

log = logging.getLogger(__name__)

NO_RUNLIST = "no-runlist"
"""Part of a run's label if pyxrt has no runlists, so that batches were started run by run."""
Progress = Callable[[str, float], None]
"""progress(name, share): called outside of timed code with a pass and how much of it is done."""


class Experiment:
    """One experiment: prepare it, run it, get its outcome.

    experiment = Experiment(compose.load("strategy=pipelined", "depth=3"))
    print(*experiment.remarks)
    outcome = experiment.run()
    print(outcome.verdict, outcome.metrics["time/tile_ms"])
    """

    def __init__(self, config: Config) -> None:
        """Create the inputs and open the device; RequestError if the experiment cannot run."""
        self._prepared = prepare(config)
        self._config = self._prepared.config
        self._backend = self._prepared.backend
        self._oracle = ORACLES[self._config.verify]
        self._computes = self._oracle is not Oracle.off
        self._rule = stop_rule(self._config.measure, self._config.device.is_exact)

    @property
    def config(self) -> Config:
        """The effective configuration, after the changes that `remarks` names."""
        return self._config

    @property
    def remarks(self) -> tuple[str, ...]:
        """A line for every key whose effective value differs from the requested one."""
        return self._prepared.remarks

    def run(self, progress: Progress = lambda name, share: None) -> Outcome:
        """Run the experiment and return its outcome.

        If the device fails or Ctrl-C stops the run, the outcome has the verdict FAILED; neither
        is raised. RequestError if the requested power mode cannot be set: then nothing has run.
        """
        findings, interrupted = Findings(), False
        try:
            with self._backend.power():
                self._measure_or_fail(findings, progress)
        except DeviceError as error:
            log.debug("device failed", exc_info=True)
            findings.fail(str(error))
        except KeyboardInterrupt as error:
            interrupted = True
            findings.fail(f"interrupted; {error.__cause__}" if error.__cause__ else "interrupted")
        # After a failure, the record still shows whether the machine has changed.
        if findings.before and not findings.after:
            findings.after = self._backend.read_state()
        # Hazards of a pass that failed before its check.
        self._take_hazards(findings)
        return self._outcome(findings, interrupted)

    def _measure_or_fail(self, findings: Findings, progress: Progress) -> None:
        """Run all passes. A RequestError from here on is a failure of the run."""
        try:
            self._measure(findings, progress)
        except RequestError as error:
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
        with self._passes() as passes:
            findings.before = self._backend.read_state()
            # Before anything is timed: a pass with wrong outputs may be faster than a right one.
            if self._computes and not self._verify(passes, findings, progress):
                return
            for _ in range(measure.warmup):
                progress("warm-up", 0)
                warm = self._pass(passes, findings, "the warm-up")
                if not warm:
                    return
                findings.warmup_ns.append(warm.makespan_ns)
            if measure.warmup:
                while self._run_timed(passes, findings, progress):
                    pass
                return
        # Without warm-up, every pass is a cold one, on contexts of its own.
        # The first execution on a context is slower, so each pass needs new contexts to be cold.
        more = True
        while more:
            with self._passes() as passes:
                more = self._run_timed(passes, findings, progress)

    def _run_timed(self, passes: Passes, findings: Findings, progress: Progress) -> bool:
        """Run one timed pass; returns whether another one is to follow.

        The machine's state is read before the first pass of the experiment and after the last.
        """
        number, rule = len(findings.passes) + 1, self._rule
        most = rule.most if rule.least == rule.most else f"at most {rule.most}"
        progress(f"pass {number} of {most}", 0)
        if number == 1:
            # Read directly after a use: the clocks of an idle device differ (`changes`).
            passes.wake()
            findings.before = self._backend.read_state()
            findings.begin_ns = self._backend.clock.now_ns
        allocated = passes.allocations
        timed = self._pass(passes, findings, f"timed pass {number}")
        if not timed:
            return False
        findings.passes.append(timed)
        findings.allocations.append(passes.allocations - allocated)
        elapsed_ns = self._backend.clock.now_ns - findings.begin_ns
        findings.stop = rule([each.makespan_ns for each in findings.passes], elapsed_ns)
        if not findings.stop:
            return True
        passes.wake()
        findings.after = self._backend.read_state()
        findings.judge_machine(self._config.device)
        if self._config.measure.cache_check and self._backend.capabilities.clock == MONOTONIC:
            self._check_cache(passes, findings, progress)
        return False

    def _check_cache(self, passes: Passes, findings: Findings, progress: Progress) -> None:
        """Time passes over one input and over all inputs, in turns."""
        in_turn_ns, repeated_ns = list[int](), list[int]()
        for turn in range(1, TURNS + 1):
            progress(f"cache check {turn} of {TURNS}", 0)
            repeated = passes.run_one_input()
            if not repeated:
                return
            repeated_ns.append(repeated.makespan_ns)
            in_turn_ns.append(passes.run(check=False)[0].makespan_ns)
        self._judge_hazards(findings, " in the cache check")
        findings.caching = CacheCheck(tuple(in_turn_ns), tuple(repeated_ns))

    def _verify(self, passes: Passes, findings: Findings, progress: Progress) -> bool:
        """Run the verification pass; returns whether it had right outputs and no hazards."""
        progress("verify", 0)
        checkers = passes.verify(lambda share: progress("verify", share))
        return self._judge_hazards(findings, "") and findings.judge_outputs(checkers, "")

    def _pass(self, passes: Passes, findings: Findings, name: str) -> Pass | None:
        """Run one pass at full speed; None if it had wrong outputs or hazards."""
        result, compare = passes.run(self._computes)
        where = f" in {name}"
        # Hazards first: they are the cause of wrong outputs, if both exist.
        if not self._judge_hazards(findings, where):
            return None
        return result if findings.judge_outputs(compare(), where) else None

    def _take_hazards(self, findings: Findings) -> None:
        findings.hazards += self._backend.take_hazards()

    def _judge_hazards(self, findings: Findings, where: str) -> bool:
        """Whether the run may continue: no hazards so far, or `device.hazards` is not error."""
        self._take_hazards(findings)
        hazards = findings.hazards
        if not hazards or not self._config.device.hazards_fail:
            return True
        findings.verdict = Verdict.HAZARD
        more = f"; {len(hazards) - 1} more in the record" if len(hazards) > 1 else ""
        findings.reason = f"{hazards[0]}{where}{more}"
        return False

    def _outcome(self, findings: Findings, interrupted: bool) -> Outcome:
        """The outcome; metrics are those of the median pass, and only for the verdict OK."""
        config, prepared = self._config, self._prepared
        # Samples of an INVALID run are stored too: they show what the machine did.
        has_samples = findings.verdict in (Verdict.OK, Verdict.INVALID)
        passes = findings.passes if has_samples else []
        times_ns = tuple(each.makespan_ns for each in passes)
        # One measured pass, not means over passes: its stage times add up to its length.
        median = median_index(times_ns) if times_ns and findings.verdict is Verdict.OK else None
        timed = None if median is None else passes[median]
        totals = timed.totals if timed else None
        capabilities = self._backend.capabilities
        hazards = sum(hazard.count for hazard in findings.hazards)
        data = Measurement(
            verified=findings.compared,
            mismatches=findings.mismatches,
            hazards=hazards if capabilities.hazards else None,
        )
        if median is not None:
            data = replace(
                data,
                totals=totals,
                intervals_ns=np.concatenate([each.intervals_ns for each in passes]),
                audio=prepared.audio,
                allocations=findings.allocations[median],
                predicted_ns=_predicted_ns(config),
                work=prepared.work,
            )
        lacks_runlists = config.strategy.batch > 1 and not capabilities.batches
        return Outcome(
            kernel=prepared.name,
            device=config.device.kind,
            phase=config.phase.name,
            strategy=config.strategy,
            label=config.strategy.label + (f" {NO_RUNLIST}" if lacks_runlists else ""),
            accounting=config.workload.accounting,
            audio=prepared.audio,
            measured_host_ns=prepared.measured_host_ns,
            verdict=findings.verdict,
            reason=findings.reason,
            metrics=metrics_of(data),
            pass_times_ns=times_ns,
            warmup_ns=tuple(findings.warmup_ns),
            stop=findings.stop if has_samples else None,
            caching=findings.caching,
            timed_pass=median,
            totals=totals,
            steps=timed.steps if timed else (),
            hazards=tuple(findings.hazards),
            machine=MachineStates(findings.before, findings.after) if findings.before else None,
            timeline=timed.timeline() if timed else None,
            interrupted=interrupted,
            verification=findings.verification(self._oracle),
        )


def stop_rule(measure: Measure, is_exact: bool) -> StopRule:
    """When the timed passes end; is_exact: they do not vary (`Device.is_exact`)."""
    if is_exact or measure.repeats:
        reason = StopReason.exact if is_exact else StopReason.requested
        return StopRule(measure.fewest, measure.fewest, fixed=reason)
    most_ns = int(measure.most_s * NS_PER_S)
    return StopRule(measure.least_repeats, measure.most_repeats, most_ns, measure.width)


def _predicted_ns(config: Config) -> int | None:
    """The predicted makespan; None if the model does not cover the configuration."""
    try:
        return predicted_ns(config)
    except NotModelledError as error:
        log.debug("no prediction: %s", error)
        return None
