"""No strategy is faster than its bound, and the bound is close."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest

from harness.config.compose import load
from harness.config.schema import Config
from harness.config.strategy import Buffers, Strategy
from harness.execution.experiment import Experiment
from harness.execution.prepare import make_plan
from harness.study.strategy_bound import shortest_pass_ns

QUICK = ("tracking=off", "verify=off", "measure.repeats=1", "workload.source=random")
REQUESTS = (
    ("workload=gelu", "workload.tiles=7", "device.chain_length=2"),
    ("workload=encoder_block", "workload.tiles=5", "measure.warmup=0"),
)


def strategies() -> list[Strategy]:
    knobs = product(Buffers, (1, 3), (1, 2, 4), (1, 3), (0, 1), (False, True))
    return [
        Strategy(buffers, depth, batch, prefetch, columns, resident)
        for buffers, depth, batch, columns, prefetch, resident in knobs
        if not (resident and buffers is Buffers.per_tile)
    ]


def times_ns(config: Config) -> tuple[int, int]:
    """The bound of a strategy, and the time of its pass."""
    outcome = Experiment(config).run()
    bound_ns = shortest_pass_ns(make_plan(config))
    assert outcome.totals
    assert bound_ns is not None
    return bound_ns, outcome.totals.makespan_ns


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda each: each[0])
def test_no_pass_is_shorter_than_its_bound(request_: tuple[str, ...]) -> None:
    base, exact = load(*QUICK, *request_), 0
    for strategy in strategies():
        bound_ns, pass_ns = times_ns(replace(base, strategy=strategy))
        assert bound_ns <= pass_ns, strategy.label
        assert pass_ns < 1.6 * bound_ns, strategy.label
        exact += bound_ns == pass_ns
    assert exact > 10, "a bound that is never reached excludes little"


@pytest.mark.parametrize(
    "override", ["device.noise.enabled=true", "workload=whisper_tiny"], ids=str
)
def test_costs_that_are_not_known_give_no_bound(override: str) -> None:
    assert shortest_pass_ns(make_plan(load("tracking=off", override))) is None
