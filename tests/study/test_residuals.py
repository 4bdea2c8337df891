"""Residuals of a calibration name the assumption of the model that a device does not meet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.modelled_records import Numbers, modelled

from harness import api
from harness.config.compose import load
from harness.config.device import Simulator
from harness.config.strategy import Strategy
from harness.results.record import Record, Samples
from harness.study.calibration import Calibration, calibrate
from harness.study.residuals import Contradiction, contradictions, noise

pytestmark = pytest.mark.slow

NUMBERS = {
    "write_fixed_ns": 18_765.0,
    "read_fixed_ns": 5_432.0,
    "sync_ns_per_mib": 23_456.0,
    "launch_ns": 45_123.0,
    "completion_ns": 41_234.0,
    "alloc_ns": 9_321.0,
    "chain_command_ns": 15_678.0,
    "exec_ns.attention": 1_234_567.0,
}
NOISE = 0.005


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Record:
    folder = tmp_path_factory.mktemp("base")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        api.run("workload.tiles=24", "verify=off", "tracking=off", "hydra.run.dir=run")
        return Record.load(Path("run"))


@pytest.fixture(scope="module")
def start() -> Simulator:
    device = load("tracking=off").device
    assert isinstance(device, Simulator)
    return device


Change = Callable[[Strategy, Numbers], Numbers]
Fit = Callable[[Change], Calibration]


@pytest.fixture(scope="module")
def fit(base: Record, start: Simulator) -> Fit:
    """Fits a profile to records of a device; the argument breaks an assumption of the model."""

    def fitted(changed: Change) -> Calibration:
        records = modelled(base, start, NUMBERS, changed=changed, noise=NOISE)
        return calibrate(records, [], start, leave_out=True)

    return fitted


def scaled(keys: Sequence[str], factor: Callable[[Strategy], float]) -> Change:
    def change(strategy: Strategy, numbers: Numbers) -> Numbers:
        return {
            key: each * (factor(strategy) if key in keys else 1) for key, each in numbers.items()
        }

    return change


def test_a_device_as_the_model_assumes_is_not_accused(fit: Fit) -> None:
    result = fit(lambda _, numbers: numbers)
    assert contradictions(result.checks) == []
    assert len(result.left_out) == len(result.checks)
    assert max(abs(check.residual_pct) for check in result.left_out) < 100 * 5 * NOISE
    assert result.alone == ()


def test_a_busy_machine_is_not_taken_for_shared_columns(base: Record, start: Simulator) -> None:
    """Totals of one column are as disturbed as those of several; their median interval is not."""
    draw = np.random.default_rng(1)
    records = modelled(base, start, NUMBERS, noise=NOISE)
    for place, record in enumerate(records):
        assert record.totals
        factor = 3 * float(np.exp(0.1 * draw.standard_normal()))
        longer = round(factor * record.totals.makespan_ns)
        records[place] = replace(record, totals=replace(record.totals, makespan_ns=longer))
    assert contradictions(calibrate(records, [], start).checks) == []


HOST = ("write_fixed_ns", "read_fixed_ns", "launch_ns")
BROKEN = {
    "columns share memory": (
        scaled(["exec_ns.attention"], lambda each: 1 + 0.1 * (each.columns - 1)),
        "the residual grows with columns: ",
        "columns share memory or cores, but the model assumes that they compute independently",
    ),
    "launches cost more with depth": (
        scaled(["launch_ns"], lambda each: 1 + 0.1 * (each.depth - 1)),
        "the residual of launch grows with depth: ",
        "a launch costs more or less with more submissions in flight, but the model assumes one "
        "cost at every depth",
    ),
    "executions of a batch do not add up": (
        scaled(["exec_ns.attention"], lambda each: 1 + 0.04 * (each.batch - 1)),
        "the residual changes with batch: ",
        "the executions of a batch do not add up, but the model assumes one time per tile and one "
        "per command",
    ),
    "writes of a batch do not add up": (
        scaled(["write_fixed_ns"], lambda each: each.batch**0.8),
        "the residual of write grows with batch: ",
        "the cost of writing a batch is not additive: the model assumes a fixed part and one per "
        "byte",
    ),
    "the host is slower while the device computes": (
        scaled(HOST, lambda each: 1.2 if each.depth > 1 else 1),
        "the residual of ",
        "stages of the host get slower while the device computes, but the model assumes that they "
        "cost the same",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_assumption_is_named(name: str, fit: Fit) -> None:
    changed, begin, reason = BROKEN[name]
    (found,) = contradictions(fit(changed).checks)
    assert found.text.startswith(begin)
    assert found.text.endswith(f": {reason}")


def test_the_effect_by_level() -> None:
    found = Contradiction("time", "columns", (1, 2, 4), (0.0, 3.2, 22.4))
    assert found.text.startswith(
        "the residual grows with columns: +3, +22 % at columns 2, 4, relative to 1: columns share"
    )
    assert (
        "falls with depth: -5 % at depth 2" in Contradiction("time", "depth", (1, 2), (0, -5)).text
    )
    alone = Contradiction("write", "overlap", (0, 1), (0.0, 20.0))
    assert alone.text.startswith("the residual of write is +20 % while the device computes: stages")


def test_too_few_records_accuse_nothing(base: Record, start: Simulator) -> None:
    records = modelled(base, start, NUMBERS, strategies=[Strategy(depth=d) for d in (1, 2, 3)])
    result = calibrate(records, [], start, ["sync_ns_per_mib"], leave_out=True)
    assert contradictions(result.checks) == []


def test_a_record_that_alone_shows_a_number_is_named(base: Record, start: Simulator) -> None:
    strategies = [Strategy(), Strategy(), Strategy(depth=2)]
    records = modelled(base, start, NUMBERS, strategies=strategies)
    result = calibrate(records, [], start, ["sync_ns_per_mib"], leave_out=True)
    assert [record.label for record in result.alone] == ["pooled d2 b1 c1"]
    assert len(result.left_out) == 2


def test_noise_is_the_median_spread(base: Record, start: Simulator) -> None:
    records = modelled(base, start, NUMBERS, strategies=[Strategy(depth=d) for d in (1, 2, 3)])
    result = calibrate(records, [], start, ["sync_ns_per_mib"])
    busy = [
        replace(
            check, record=replace(check.record, samples=Samples(total_ns=(100, 100 + more, 90)))
        )
        for check, more in zip(result.checks, (10, 40, 90), strict=True)
    ]
    assert noise(busy) == pytest.approx(0.5)
