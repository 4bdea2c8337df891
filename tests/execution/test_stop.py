"""Timed passes of an experiment end by the rule, and what surrounds them stays in its place."""

from __future__ import annotations

from typing import Any

import pytest

from harness.config.compose import load
from harness.device.host.state import MachineState
from harness.execution.experiment import Experiment, stop_rule
from harness.execution.outcome import Outcome, Verdict
from harness.execution.tile_passes import TilePasses
from harness.measure.stopping import StopReason

SHORT = ("tracking=off", "workload.tiles=6", "workload.source=random", "verify=off")
NOISY = (*SHORT, "device.noise.enabled=true", "device.noise.seed=1")


def outcome_of(*overrides: str) -> tuple[Outcome, list[str]]:
    """The outcome of a run, and the progress that it reported."""
    reported: list[str] = []
    outcome = Experiment(load(*overrides)).run(lambda name, share: reported.append(name))
    return outcome, reported


def test_noise_makes_the_rule_decide() -> None:
    outcome, reported = outcome_of(*NOISY, "measure.most_repeats=60")
    assert outcome.verdict is Verdict.OK
    assert outcome.stop
    assert outcome.stop.reason is StopReason.noisy
    count = len(outcome.pass_times_ns)
    assert 20 <= count < 60
    assert reported == ["warm-up", *(f"pass {each} of at most 60" for each in range(1, count + 1))]
    assert len(outcome.warmup_ns) == 1


def test_a_wide_interval_that_was_wanted_ends_them() -> None:
    outcome, _ = outcome_of(*NOISY, "measure.width=1")
    assert outcome.stop
    assert outcome.stop.reason is StopReason.width
    assert 0 < (outcome.stop.width or 0) <= 1
    assert 6 < len(outcome.pass_times_ns) < 60


def test_the_number_of_passes_is_reproducible() -> None:
    once, again = (outcome_of(*NOISY)[0] for _ in range(2))
    assert (once.pass_times_ns, once.stop) == (again.pass_times_ns, again.stop)


@pytest.mark.parametrize(
    ("overrides", "count", "reason"),
    [
        ((*SHORT,), 5, StopReason.exact),
        ((*SHORT, "measure=quick"), 3, StopReason.exact),
        ((*SHORT, "measure.repeats=2"), 2, StopReason.exact),
        ((*NOISY, "measure.repeats=7"), 7, StopReason.requested),
        ((*NOISY, "measure.repeats=7", "measure.warmup=0"), 7, StopReason.requested),
        ((*NOISY, "measure.most_repeats=6"), 6, StopReason.passes),
        ((*NOISY, "measure.most_s=0"), 5, StopReason.seconds),
        ((*NOISY, "measure.most_s=0", "measure.warmup=0"), 5, StopReason.seconds),
    ],
)
def test_why_passes_end(overrides: tuple[str, ...], count: int, reason: StopReason) -> None:
    outcome, reported = outcome_of(*overrides)
    assert outcome.stop
    assert (len(outcome.pass_times_ns), outcome.stop.reason) == (count, reason)
    if reason in (StopReason.exact, StopReason.requested):
        assert reported[-1] == f"pass {count} of {count}"


@pytest.mark.parametrize("warmup", [0, 1])
@pytest.mark.parametrize("overrides", [("measure.most_s=0",), ("measure.repeats=5",)], ids=str)
def test_the_machine_is_read_around_all_timed_passes(
    monkeypatch: pytest.MonkeyPatch, overrides: tuple[str, ...], warmup: int
) -> None:
    log: list[str] = []

    def log_calls(name: str) -> None:
        call = getattr(TilePasses, name)

        def logged(self: TilePasses, *arguments: Any) -> Any:
            log.append(name)
            return call(self, *arguments)

        monkeypatch.setattr(TilePasses, name, logged)

    def read_state() -> MachineState:
        log.append("state")
        return MachineState(power_mode="turbo" if len(log) > 8 else "default")

    for name in ("run", "wake", "close"):
        log_calls(name)
    experiment = Experiment(load(*NOISY, *overrides, f"measure.warmup={warmup}"))
    monkeypatch.setattr(experiment._backend, "read_state", read_state)
    outcome = experiment.run()
    cold = ["close", "run"] if not warmup else ["run"]
    first = ["close", "wake", "state", "run"] if not warmup else ["run", "wake", "state", "run"]
    assert log == ["state", *first, *4 * cold, "wake", "state", "close"]
    assert outcome.verdict is Verdict.INVALID, "the mode differs between the two readings"
    assert outcome.stop, "samples of INVALID runs are stored, and why they ended"
    assert outcome.metrics["time/total_ms"] is None


def test_a_number_of_passes_is_what_the_user_means() -> None:
    config = load(*NOISY, "measure=rigorous", "measure.repeats=3")
    rule = stop_rule(config.measure, config.device.is_exact)
    assert (rule.least, rule.most) == (3, 3)
