"""The rules of honest measurement: for each, a test that breaks it and sees the harness object.

1 Correct first: test_main_command.py::test_a_wrong_kernel and
  ::test_a_kernel_that_goes_wrong_after_its_verification,
  test_cpu.py::test_wrong_outputs_are_not_timed.
2 Warm-up apart: test_main_command.py::test_without_warm_up_every_pass_is_cold; below.
3 Repeats: test_stopping.py::test_the_interval_misses_in_5_percent_of_the_trials,
  test_stop.py::test_why_passes_end.
4 Comparison: test_comparison.py::test_false_verdicts_are_rare_and_true_ones_are_not,
  test_compared_records.py::test_one_wrong_run_makes_it_invalid.
5 Percentiles: test_metrics.py::test_percentiles_need_samples; below, in a record.
6 Environment: test_hardware.py::test_the_machine_changes,
  test_stop.py::test_the_machine_is_read_around_all_timed_passes.
7 Self-cost: test_terminal.py::test_a_harness_that_takes_much_of_the_time_says_so.
8 Bounds: test_strategy_bound.py::test_no_pass_is_shorter_than_its_bound; below.
9 Caching: below.
10 Exit codes of gates: test_compare.py::test_gates.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.record_samples import a_record

from harness.config.compose import load
from harness.device.cpu.program import Execute, ReferenceProgram, Stamps
from harness.execution.experiment import Experiment
from harness.execution.outcome import Outcome, Verdict
from harness.inputs.generate import make_tiles
from harness.kernel import Bytes
from harness.measure.caching import CacheCheck
from harness.report.run_lines import footnotes, legend
from harness.results.record import Samples

TESTS = Path(__file__).parent.parent
SMALL = ("tracking=off", "workload.tiles=6", "workload.source=random", "verify=off")


def outcome_of(*overrides: str) -> Outcome:
    outcome = Experiment(load(*SMALL, *overrides)).run()
    assert outcome.verdict is Verdict.OK, outcome.reason
    return outcome


@pytest.mark.parametrize("name", re.findall(r"test_\w+\.py(?:::\w+)?|::\w+", __doc__))
def test_the_tests_that_are_named_exist(name: str) -> None:
    file, _, function = name.partition("::")
    texts = [path.read_text() for path in TESTS.rglob(file or "test_main_command.py")]
    assert any(f"def {function}(" in text if function else text for text in texts)


# 2: the first execution on a context takes 3.3 ms longer, and with verify=off that is a warm-up


def test_a_cold_pass_is_in_no_figure_of_a_warm_run() -> None:
    outcome = outcome_of("strategy=pooled")
    (cold_ns,) = outcome.warmup_ns
    assert cold_ns - 3_300_000 in outcome.pass_times_ns
    assert len({*outcome.pass_times_ns}) == 1
    assert outcome.metrics["time/total_ms"] == outcome.pass_times_ns[0] / 1e6


def test_cold_rows_are_named() -> None:
    warm, cold = (replace(a_record(), samples=Samples((7, 8), (), cold)) for cold in (False, True))
    old = replace(a_record(), samples=Samples((7, 8)))
    cold = replace(cold, label="other")
    line = "cold, each pass on new contexts (measure.warmup=0): "
    assert f"{line}every row" in legend([cold, cold])
    assert f"{line}other" in legend([warm, cold, old])
    assert not [each for each in legend([warm, old]) if each.startswith("cold")]


# 5: five passes of 76 tiles have 375 intervals, which are not the 459 of a 99th percentile


def test_a_percentile_of_too_few_intervals_is_not_in_the_record() -> None:
    metrics = outcome_of("strategy=pooled", "workload.tiles=76").metrics
    assert metrics["time/interval_p95_ms"]
    assert metrics["time/interval_p99_ms"] is None


# 8: a bound above the time that was measured


def test_a_pass_that_is_shorter_than_its_bound_is_reported() -> None:
    def below(ratio: float | None) -> list[str]:
        record = replace(a_record(), metrics={**a_record().metrics, "bound/ratio": ratio})
        return [line for line in footnotes([record]) if "of its bound" in line]

    (line,) = below(0.9)
    assert line.startswith("per_tile d1 b1 c1: the pass took 90.0% of its bound, ")
    assert below(1.0) == below(0.9951) == below(None) == []


# 9: a device that answers an input at once that it has just had


@dataclass
class ExecutionClock:
    """Time that passes in executions only, so that no other work on the machine changes it."""

    now_ns: int = 1


@pytest.fixture
def remembers(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> bool:
    """A device=cpu whose kernels take 10 ms, or nothing if they remember the last input."""
    last: list[bytes] = [b""]
    clock = ExecutionClock()

    def bind(self: ReferenceProgram, buffers: Sequence[Bytes], stamps: Stamps) -> Execute:
        def execute(bell: int) -> None:
            content = b"".join(each.tobytes() for each in buffers[:-1])
            if not request.param or content != last[0]:
                clock.now_ns += 10_000_000
            last[0] = content
            stamps[:] = clock.now_ns

        return execute

    monkeypatch.setattr("harness.device.cpu.backend.kernel_source", lambda name: None)
    monkeypatch.setattr("harness.device.cpu.backend.HostClock", lambda: clock)
    monkeypatch.setattr(ReferenceProgram, "bind", bind)
    return bool(request.param)


CPU = ("device=cpu", "strategy=pooled", "workload=gelu", "measure.repeats=2")


@pytest.mark.slow
@pytest.mark.parametrize("remembers", [True, False], indirect=True)
def test_a_device_that_remembers_its_input_is_reported(remembers: bool) -> None:
    outcome = outcome_of(*CPU, "measure.cache_check=true")
    assert outcome.caching
    assert len(outcome.caching.in_turn_ns) == len(outcome.caching.repeated_ns) == 5
    assert outcome.caching.is_cached == remembers
    assert len(outcome.pass_times_ns) == 2, "the check is no timed pass"
    lines = footnotes([replace(a_record(), caching=outcome.caching)])
    assert any("one input again and again is " in line for line in lines) == remembers


@pytest.mark.slow
@pytest.mark.parametrize("remembers", [True], indirect=True)
@pytest.mark.parametrize(
    "overrides",
    [
        (*CPU,),
        (*CPU, "measure.cache_check=true", "workload.tiles=1"),
        ("measure=rigorous", "device.noise.enabled=true", "measure.repeats=2"),
    ],
    ids=["not requested", "one input", "virtual time"],
)
def test_no_check_where_there_is_nothing_to_see(
    remembers: bool, overrides: tuple[str, ...]
) -> None:
    assert outcome_of(*overrides).caching is None


def test_rigorous_checks() -> None:
    assert load("measure=rigorous").measure.cache_check
    assert not load().measure.cache_check


@pytest.mark.parametrize(
    ("in_turn", "repeated", "is_cached"),
    [
        ((112,) * 5, (100,) * 5, True),
        ((110,) * 5, (100,) * 5, False),
        ((100,) * 5, (112,) * 5, False),
        # 20 % by the medians, but within the noise.
        ((120, 100, 125, 100, 121), (100, 101, 99, 121, 120), False),
    ],
)
def test_ten_percent(in_turn: Any, repeated: Any, is_cached: bool) -> None:
    assert CacheCheck(in_turn, repeated).is_cached == is_cached


def test_the_one_input_takes_as_much_memory() -> None:
    """Else the caches of the host's processor would make it faster."""
    tiles = make_tiles("gelu", 5, "random", 0, lambda: 0, 37)
    one = tiles.of_one_input
    for all_inputs, same in zip(tiles.packed, one.packed, strict=True):
        assert same.shape == all_inputs.shape
        assert not np.array_equal(all_inputs[1], all_inputs[0]), "inputs in turn differ"
        np.testing.assert_array_equal(same, np.broadcast_to(all_inputs[0], same.shape))
