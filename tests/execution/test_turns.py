"""Kernels whose contexts take turns on the same columns: what switching costs and limits."""

from __future__ import annotations

import numpy as np
import pytest

from harness.config.compose import load
from harness.execution.experiment import Experiment
from harness.execution.outcome import Outcome, Verdict
from harness.measure.bounds import bounds
from harness.measure.timeline import Stage, Timeline, lengths_ns

SWITCH_NS = 1_405_000
TILES = 6


def outcome(*overrides: str) -> Outcome:
    """Of the guide's block: attention, layernorm, matmul and GELU on each tile."""
    request = "device=phoenix_2026", "workload=encoder_block", "workload.source=random"
    tiles = f"workload.tiles={TILES}"
    return Experiment(load("tracking=off", *request, tiles, *overrides)).run()


def timeline(found: Outcome) -> Timeline:
    assert found.verdict is Verdict.OK
    assert found.timeline
    return found.timeline


@pytest.mark.parametrize(("columns", "switches"), [(1, 4 * TILES), (2, 4 * TILES), (4, 0)])
def test_every_change_of_the_kernel_on_a_column_is_a_switch(columns: int, switches: int) -> None:
    """With one tile in flight, the four kernels of each tile execute in order.

    On one column each of them follows another; on two columns attention and matmul share one,
    layernorm and GELU the other.
    """
    found = outcome("strategy=pooled", f"device.columns={columns}")
    spans = timeline(found)
    loads_ns = lengths_ns(spans.of(Stage.LOAD))
    assert len(loads_ns) == switches
    assert found.totals
    assert found.totals.load_ns == switches * SWITCH_NS
    assert found.metrics["time/load_ms"] == switches * SWITCH_NS / TILES / 1e6
    assert set(loads_ns.tolist()) <= {SWITCH_NS}


def test_a_batch_on_one_column_is_one_switch_for_all_its_tiles() -> None:
    spans = timeline(outcome("strategy=batch", f"strategy.batch={TILES}", "device.columns=1"))
    assert len(spans.of(Stage.LOAD)) == 4


def test_kernels_on_the_same_column_have_their_sum_as_bound() -> None:
    found = outcome("strategy=stacked", "depth=3", "strategy.batch=2", "device.columns=1")
    spans = timeline(found)
    limits = bounds(spans)
    assert limits
    work_ns = spans.sum_ns(Stage.LOAD, Stage.EXEC)
    assert (limits.device_ns, limits.columns) == (work_ns, 1)
    assert limits.bound_ns <= limits.makespan_ns
    assert limits.bound_ns >= work_ns


def test_kernels_on_columns_of_their_own_have_the_longest_as_bound() -> None:
    spans = timeline(outcome("strategy=pipelined", "depth=4", "device.columns=4"))
    limits = bounds(spans)
    assert limits
    executions = spans.of(Stage.EXEC)
    by_kernel = np.bincount(executions[:, 6], lengths_ns(executions))
    assert (limits.device_ns, limits.columns) == (by_kernel.max(), 1)
