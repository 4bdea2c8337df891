"""The curves of payoff are the times and the bounds that runs have."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from support.experiments import record_of_run, request
from support.record_samples import a_record

from harness.config.stored import config_of
from harness.errors import RequestError
from harness.execution.experiment import Experiment
from harness.execution.outcome import Verdict
from harness.results.record import Record
from harness.study.payoff import GAIN, Payoff, Variants, payoffs_of

REQUESTS = {
    "one kernel": "strategy=pipelined workload=matmul workload.tiles=7",
    "batches": "strategy=stacked workload=gelu workload.tiles=11 strategy.columns=2",
    "serial": "strategy=baseline phase=baseline workload=attention workload.tiles=5",
    "cold": "strategy=pooled workload=gelu workload.tiles=4 measure.warmup=0",
    "resident": "strategy=pipelined workload=matmul_gelu workload.tiles=5 strategy.resident=true",
    "chain": "strategy=pipelined workload=encoder_block workload.tiles=4",
    "turns": "strategy=pipelined workload=encoder_block workload.tiles=4 device.columns=2",
}
NOISY = "strategy=pipelined workload.tiles=48 device.noise.enabled=true"


def run(text: str) -> Record:
    return record_of_run(*text.split())


@pytest.mark.parametrize("text", REQUESTS.values(), ids=REQUESTS)
def test_a_curve_is_what_runs_take(text: str) -> None:
    record = run(text)
    found = payoffs_of(record)
    assert [each.knob for each in found] == ["depth", "batch", "columns"]
    for each in found:
        assert each.own == getattr(record.knobs, each.knob)
        assert each.basis == "by the model"
        for value, total_ns, bound_ns in zip(
            each.values, each.total_ns, each.bound_ns, strict=True
        ):
            changes: dict[str, Any] = {each.knob: value}
            free = config_of(record.config, replace(record.knobs, **changes))
            totals = Experiment(free).run().totals
            assert totals
            assert totals.makespan_ns == total_ns
            assert totals.bound_ns
            assert bound_ns <= totals.bound_ns
            # Cold starts and late looks of the host at completions are in no cost of the model.
            if text not in (REQUESTS["cold"], REQUESTS["chain"], REQUESTS["turns"]):
                assert bound_ns == totals.bound_ns, (each.knob, value)


def test_kernels_on_one_column_have_their_sum_as_bound() -> None:
    chain = "strategy=pipelined workload=encoder_block workload.tiles=4 depth=4 device.columns=1"
    record = run(chain)
    depth, *_ = payoffs_of(record)
    assert record.totals
    assert record.totals.exec_ns
    bound_ns = depth.bound_ns[depth.values.index(4)]
    assert record.totals.exec_ns < bound_ns <= (record.totals.bound_ns or 0)


@pytest.mark.parametrize("text", [REQUESTS["chain"], REQUESTS["cold"], NOISY, "device=cpu"])
def test_a_stored_request_is_the_request(text: str) -> None:
    config, stored = request(*text.split())
    assert replace(config_of(stored, config.strategy), phase=config.phase) == config


def test_the_values_are_those_that_a_pass_can_use() -> None:
    depth, batch, columns = payoffs_of(run("strategy=stacked workload.tiles=9 depth=30"))
    assert depth.values == (1, 2, 3, 30), "three submissions of four tiles, and the run's own depth"
    assert batch.values == tuple(range(1, 10))
    assert columns.values == (1, 2, 3)
    assert payoffs_of(run("strategy=pooled workload.tiles=1")) == ()
    long = payoffs_of(run("strategy=pooled workload.tiles=99 workload=gelu"))
    assert [each.values[-1] for each in long] == [16, 16, 4]


def test_a_chain_has_no_columns_beyond_the_contexts() -> None:
    """Four kernels and six contexts: no kernel can have four."""
    columns = payoffs_of(run("strategy=pooled workload=encoder_block workload.tiles=9"))[-1]
    assert (columns.knob, columns.values) == ("columns", (1, 2, 3))


@pytest.mark.parametrize(
    ("totals_ns", "enough"),
    [
        ((1000, 995, 991), 1),
        ((1000, 995, 990), 2),  # 1 % exactly
        ((100, 80, 80, 80), 2),
        ((100, 120, 70, 90), 3),
        ((70, 80, 90), 1),
        ((0, 0), 1),
    ],
)
def test_enough_is_where_more_gains_less_than_a_percent(
    totals_ns: tuple[int, ...], enough: int
) -> None:
    assert GAIN == 0.01
    record = a_record()
    variants = Variants(
        record.knobs,
        {"depth": len(totals_ns)},
        lambda knobs: (totals_ns[knobs.depth - 1], 1),
        by_stages=False,
    )
    payoff = variants.payoff("depth")
    assert (payoff.total_ns, payoff.enough, payoff.own) == (totals_ns, enough, 1)


def test_what_another_value_saves() -> None:
    payoff = Payoff("depth", (1, 2, 4), (100, 80, 120), (70, 70, 70), own=1, enough=2)
    assert [payoff.saved(value) for value in payoff.values] == pytest.approx([0, 0.2, -0.2])


def test_noise_is_modelled_with_the_stage_times_of_the_run() -> None:
    """Batches are not, because the time of a larger sync is not known."""
    depth, columns = payoffs_of(run(NOISY))
    assert (depth.knob, columns.knob) == ("depth", "columns")
    assert depth.basis == columns.basis == "by the model with this run's stage times"
    for payoff, value in ((depth, 1), (depth, 2), (depth, 16), (columns, 2), (columns, 4)):
        totals = run(f"{NOISY} strategy.{payoff.knob}={value}").totals
        assert totals
        assert payoff.total_ns[value - 1] == pytest.approx(totals.makespan_ns, rel=0.05)


def test_stage_times_that_do_not_explain_a_run_give_no_curve() -> None:
    record = run(NOISY)
    assert record.totals
    totals = replace(record.totals, makespan_ns=record.totals.makespan_ns * 11 // 10)
    assert payoffs_of(replace(record, totals=replace(totals, wait_ns=totals.wait_ns * 2))) == ()


@pytest.mark.parametrize(
    "text",
    [
        "device.noise.enabled=true workload=encoder_block workload.tiles=4",
        "device.noise.enabled=true workload=gelu measure.warmup=0",
        "workload=whisper_tiny workload.tiles=2",
    ],
)
def test_what_the_totals_do_not_hold_gives_no_curve(text: str) -> None:
    assert payoffs_of(run(text)) == ()


def test_records_without_times_or_with_an_incomplete_request_give_no_curve() -> None:
    record = run("workload=gelu workload.tiles=4")
    assert payoffs_of(replace(record, verdict=Verdict.WRONG)) == ()
    assert payoffs_of(replace(record, totals=None)) == ()
    assert payoffs_of(replace(record, config={**record.config, "device": {"kind": "abacus"}})) == ()
    without = {**record.config, "workload": {"kernel": "abacus"}}
    assert payoffs_of(replace(record, config=without)) == ()
    with pytest.raises(RequestError, match="stored configuration is incomplete"):
        config_of({}, record.knobs)
