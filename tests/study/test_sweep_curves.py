"""Curves of a sweep: which key is the x axis, which runs share a curve, what is marked."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from support.record_samples import SERIAL, a_record
from support.timed_runs import run

from harness.config.strategy import Strategy
from harness.execution.outcome import Verdict
from harness.results.record import Record
from harness.study.sweep_curves import Point, sweep_curves


def of(tile_ms: float, *overrides: str, bound: float | None = 1.25, **knobs: Any) -> Record:
    """A record of a sweep's job with these overrides and knobs."""
    typed = dict(each.split("=") for each in overrides)
    config = {key.replace(".", "__"): int(value) for key, value in typed.items() if value.isdigit()}
    record = run(tile_ms, **config)
    return replace(
        record,
        preset=typed.get("strategy", "pipelined"),
        knobs=Strategy(**knobs),
        overrides=list(overrides),
        metrics={**record.metrics, "bound/ratio": bound},
    )


def test_the_key_with_most_values_is_the_axis() -> None:
    records = [
        of(
            10.0 * depth + batch,
            f"strategy.batch={batch}",
            f"depth={depth}",
            depth=depth,
            batch=batch,
        )
        for batch in (1, 4)
        for depth in (3, 2, 1)
    ]
    curves = sweep_curves(records, {2})
    assert curves is not None
    assert (curves.key, curves.x_values) == ("depth", [1, 2, 3])
    assert curves.label == "depth: submissions in flight per column"
    assert [curve.name for curve in curves.curves] == ["batch=1", "batch=4"]
    assert curves.curves[0].points == (
        Point(2, 1, 11.0, 8.8),
        Point(1, 2, 21.0, 16.8),
        Point(0, 3, 31.0, 24.8),
    )
    assert (curves.best, curves.left_out) == ({2}, 0)


@pytest.mark.parametrize("key", ["seed", "device.noise.seed"])
def test_the_seed_is_no_axis_beside_another_number(key: str) -> None:
    records = [
        of(
            1.0,
            f"{key}={seed}",
            f"strategy.columns={columns}",
            f"depth={depth}",
            depth=depth,
            columns=columns,
        )
        for seed, columns, depth in [(1, 1, 1), (2, 2, 1), (3, 1, 2), (4, 2, 2)]
    ]
    curves = sweep_curves(records)
    assert curves is not None
    # The seed has most values, but their order means nothing.
    assert curves.key == "depth"
    assert [each.name for each in curves.curves] == [
        f"seed={seed}, columns={columns}" for seed, columns in [(1, 1), (2, 2), (3, 1), (4, 2)]
    ]


def test_long_numbers_keep_the_curves_of_different_runs_apart() -> None:
    records = [
        of(1.0, f"depth={depth}", f"seed={seed}", depth=depth)
        for depth in (1, 2)
        for seed in (1_234_567, 1_234_568)
    ]
    curves = sweep_curves(records)
    assert curves is not None
    assert [each.name for each in curves.curves] == ["seed=1234567", "seed=1234568"]


def test_any_number_can_be_the_axis() -> None:
    records = [of(1.0, f"device.launch_ns={value}") for value in (100, 50)]
    curves = sweep_curves(records)
    assert curves is not None
    assert (curves.key, curves.label) == ("device.launch_ns", "device.launch_ns")
    assert [(each.name, len(each.points)) for each in curves.curves] == [("", 2)]


def test_the_depth_is_the_effective_one() -> None:
    """A strategy that ignores the depth has one point, wherever the request put it."""
    records = [
        of(3.0, "strategy=baseline", "depth=7", depth=1),
        of(2.0, "strategy=pipelined", "depth=2", depth=2),
        of(1.0, "strategy=pipelined", "depth=3", depth=3),
    ]
    curves = sweep_curves(records)
    assert curves is not None
    assert [(each.name, [point.x for point in each.points]) for each in curves.curves] == [
        ("baseline", [1]),
        ("pipelined", [2, 3]),
    ]


def test_without_a_number_each_run_is_a_category() -> None:
    records = [
        of(2.0, "strategy=baseline", "device=simulator", "tracking=off"),
        of(1.0, "strategy=batch", "device=simulator", "tracking=local", bound=None),
        of(1.5, "strategy=batch", "device=simulator"),
    ]
    curves = sweep_curves(records, {1})
    assert curves is not None
    assert (curves.key, curves.label) == ("", "strategy")
    assert [each.name for each in curves.curves] == ["baseline", "batch", "batch (2)"]
    assert [each.points for each in curves.curves] == [
        (Point(0, 0, 2.0, 1.6),),
        (Point(1, 1, 1.0, None),),
        (Point(2, 2, 1.5, 1.2),),
    ]


def test_runs_without_right_outputs_or_times_are_left_out() -> None:
    wrong = replace(a_record(verdict=Verdict.WRONG), overrides=["depth=9"])
    untimed = of(0.0, "depth=8", depth=8)
    right = of(1.0, "depth=2", depth=2)
    curves = sweep_curves([wrong, right, untimed], {0, 1})
    assert curves is not None
    assert (curves.left_out, curves.best) == (2, {1})
    assert [each.name for each in curves.curves] == [right.label]
    assert sweep_curves([wrong, untimed]) is None
    assert sweep_curves([]) is None


def test_one_run_is_a_category() -> None:
    curves = sweep_curves([replace(of(1.0, "depth=2"), label=SERIAL.label)])
    assert curves is not None
    assert [(each.name, len(each.points)) for each in curves.curves] == [(SERIAL.label, 1)]
