"""The model of a pass gives the times of the simulator, to the nanosecond."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.random_kernels import kernels

from harness.config.compose import load
from harness.config.device import Faults, Hazards, Noise, PowerMode, Simulator
from harness.config.schema import Config, Measure, Verify
from harness.config.shared_memory import SharedMemory
from harness.config.strategy import Buffers, Strategy
from harness.device.open import open_backend
from harness.execution.executor import Executor
from harness.execution.experiment import Experiment
from harness.execution.outcome import Verdict
from harness.execution.predict import (
    NotModelledError,
    _Builder,
    experiment_model,
    predicted_ns,
)
from harness.execution.prepare import make_plan
from harness.execution.tile_passes import TilesPass
from harness.execution.verify import Checker
from harness.inputs.chain import Chain
from harness.inputs.tiles import Tiles
from harness.kernel import KernelSpec
from harness.measure.model import PROFILES_AT_ONCE, pass_times
from harness.measure.pass_model import PassModel, Station
from harness.measure.timeline import Stage
from harness.study.strategy_bound import _of_submission

KNOBS = {
    "buffers": st.sampled_from(Buffers),
    "depth": st.integers(1, 6),
    "batch": st.integers(1, 5) | st.integers(1, 30),
    "prefetch": st.integers(0, 3),
    "columns": st.integers(1, 4),
    "resident": st.booleans(),
}
SINGLE = ("workload=matmul", "workload=layernorm", "workload=gelu")
CHAINS = (
    "workload=encoder_block",
    "workload=encoder_block_fused",
    "workload=attention_layernorm",
)
HOST = ("alloc_ns", "write_fixed_ns", "read_fixed_ns", "launch_ns", "completion_ns")
DEVICE = (
    "chain_command_ns",
    "cold_start_ns",
    "switch_ns",
    "resume_ns",
    "context_open_ns",
    "device_open_ns",
)
# Small numbers: ties between completions, and between an end and the host, are frequent then.
COSTS = st.fixed_dictionaries(
    dict.fromkeys(HOST + DEVICE, st.integers(0, 30) | st.integers(0, 3000))
    | {
        "sync_ns_per_mib": st.integers(0, 1_000_000),
        "queue_depth": st.integers(1, 5),
        "chain_length": st.integers(1, 24),
        "idle_suspend_ns": st.integers(0, 5000) | st.just(5_000_000_000),
        "power_mode": st.sampled_from(PowerMode),
        "watchdog_ns": st.sampled_from([0, 2000, 2_000_000_000]),
        "columns": st.integers(1, 4),
        "context_limit": st.just(6),
        "hazards": st.sampled_from([Hazards.off, Hazards.error]),
        # Mostly kernels that move data for a part of their time, and neutral ones.
        "memory": st.builds(
            SharedMemory,
            channel_ns_per_mib=st.sampled_from([0, 20_000, 150_900, 2_000_000]),
            array_ns_per_mib=st.sampled_from([0, 38_800, 1_000_000]),
            exec_slower_pct=st.integers(0, 300) | st.just(59),
            sync_slower_pct=st.integers(0, 300) | st.just(53),
        )
        | st.just(SharedMemory()),
    }
)
KERNELS = ("attention", "layernorm", "matmul", "gelu", "attention_layernorm", "matmul_gelu")
EXECUTIONS = st.fixed_dictionaries(
    dict.fromkeys(KERNELS, st.integers(0, 60) | st.integers(0, 5000))
)
SUMS = ("makespan_ns", "alloc_ns", "write_ns", "launch_ns", "wait_ns", "read_ns")


@cache
def loaded(*overrides: str) -> Config:
    return load("tracking=off", "workload.source=random", "strategy=pooled", *overrides)


def request(
    workload: str,
    knobs: dict[str, Any],
    tiles: int,
    costs: dict[str, Any],
    executions: dict[str, int],
    passes: tuple[int, int],
    verify: Verify,
) -> Config:
    config = loaded(workload)
    # No strategy has both, and a device has no more columns than it has.
    knobs = {**knobs, "columns": min(knobs["columns"], costs["columns"])}
    knobs["resident"] = knobs["resident"] and knobs["buffers"] is Buffers.pooled
    return replace(
        config,
        device=replace(config.device, exec_ns=executions, **costs),
        strategy=Strategy(**knobs),
        workload=replace(config.workload, tiles=tiles),
        measure=Measure(*passes),
        verify=verify,
    )


def check(config: Config) -> None:
    outcome = Experiment(config).run()
    model = experiment_model(make_plan(config))
    times = model.times()
    # The watchdog is the only reason to fail: no wait comes near the timeout.
    assert (outcome.verdict is Verdict.OK) is bool(model.completes(times)), outcome.reason
    if outcome.verdict is Verdict.OK:
        found = {name: getattr(outcome.totals, name) for name in SUMS}
        assert found == {name: getattr(times, name) for name in SUMS}
        assert predicted_ns(config) == found["makespan_ns"]
        assert outcome.metrics["model/total_ms"] == outcome.metrics["time/total_ms"]
        assert outcome.metrics["model/residual_pct"] == 0
        intervals_ns = model.times(with_intervals=True).intervals_ns
        if intervals_ns is not None:  # None if the device may suspend between passes
            assert outcome.timeline
            waits = outcome.timeline.of(Stage.WAIT)
            ends_ns = np.sort(waits[waits[:, 6] == waits[:, 6].max(), 5])
            np.testing.assert_array_equal(intervals_ns, np.diff(ends_ns))


requests = st.builds(
    request,
    st.sampled_from(SINGLE),
    st.fixed_dictionaries(KNOBS),
    st.integers(1, 40),
    COSTS,
    EXECUTIONS,
    st.tuples(st.integers(0, 2), st.integers(1, 3)),
    st.sampled_from(Verify),
)
requests_of_chains = st.builds(
    request,
    st.sampled_from(CHAINS),
    # Single tiles in flight are what makes the order depend on the costs.
    st.fixed_dictionaries({**KNOBS, "batch": st.just(1) | st.integers(1, 5)}),
    st.integers(1, 16),
    COSTS,
    EXECUTIONS,
    st.tuples(st.integers(0, 2), st.integers(1, 3)),
    st.just(Verify.off),
)


@pytest.mark.slow
@given(requests)
def test_the_model_of_a_kernel_is_the_simulator(config: Config) -> None:
    check(config)


@pytest.mark.slow
@given(requests_of_chains)
def test_the_model_of_a_chain_is_the_simulator(config: Config) -> None:
    check(config)


@pytest.mark.slow
@settings(max_examples=60)
@given(kernels("any"), st.fixed_dictionaries(KNOBS), st.integers(1, 20), COSTS, st.integers(0, 900))
def test_the_model_of_any_list_of_arguments_is_the_simulator(
    spec: KernelSpec, knobs: dict[str, Any], tiles: int, costs: dict[str, Any], exec_ns: int
) -> None:
    costs = {
        **costs,
        "idle_suspend_ns": 5_000_000_000,
        "watchdog_ns": 0,
        "exec_ns": {"any": exec_ns},
    }
    device, columns = Simulator(**costs), min(knobs["columns"], costs["columns"])
    resident = knobs["resident"] and knobs["buffers"] is Buffers.pooled
    strategy = Strategy(**{**knobs, "columns": columns, "resident": resident})
    session = open_backend(device, spec).open_session(spec, columns, timeout_ms=60_000)
    inputs = Tiles(
        Chain((spec,)),
        tuple(np.zeros((1, each.size_bytes), np.uint8) for each in spec.inputs),
        audio_s=1.0,
        host_ns=0,
    )
    executor = Executor([session], strategy, tiles, inputs.constants_to_hold(resident))
    checker = Checker(inputs)
    builder = _Builder(inputs.chain, (columns,), strategy, device, tiles)

    # The first pass begins on contexts that have not executed yet.
    poisoned = TilesPass(executor.run(inputs, checker, checker.poison))
    assert (checker.compared, checker.mismatches) == (tiles, 0)
    times = pass_times(builder.model(poisons=True), None, is_cold=True)
    # A makespan begins with the first allocation or staging.
    before = 0 if strategy.buffers is Buffers.per_tile else min(tiles, strategy.batch)
    unseen_ns = sum(builder._poison(spec, before)) if before else 0
    assert poisoned.makespan_ns + unseen_ns == times.makespan_ns

    totals = TilesPass(executor.run(inputs, lambda first, outputs: None)).totals
    model = builder.model()
    times = pass_times(model, 0, is_cold=False)
    assert {name: getattr(totals, name) for name in SUMS} == {
        name: getattr(times, name) for name in SUMS
    }
    for count, write_ns in model.stations[0].write_ns.items():
        bound = _of_submission(device, strategy, spec, count, exec_ns)
        assert (bound[1], bound[-1]) == (write_ns, model.stations[0].read_ns[count])


@pytest.mark.parametrize(
    "overrides",
    [
        ["strategy=pipelined"],
        ["strategy=stacked", "strategy.columns=2", "measure.warmup=0"],
        ["strategy=pipelined", "workload=encoder_block", "strategy.columns=2"],
        ["strategy=baseline", "device.idle_suspend_ns=100000", "verify=off"],
    ],
    ids=" ".join,
)
def test_the_shipped_profile(overrides: list[str]) -> None:
    check(load("tracking=off", "workload.tiles=11", *overrides))


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        ("device=hardware", "device=hardware: the model needs the profile of a simulated device"),
        ("device.clock=wall", "device.clock=wall: real time is not modelled"),
        ("device.noise.enabled=true", "device.noise.enabled=true: noise is not modelled"),
        ("device.faults.slow=[3]", "device.faults: faults are not modelled"),
        ("workload=whisper_tiny", "workload.accounting=full: the kernels of an encoder open"),
        (
            "measure.warmup=0 device.idle_suspend_ns=1000 device.context_open_ns=2000000000",
            "device.idle_suspend_ns: the device would suspend between two passes",
        ),
        ("device.timeout_ms=1", "an execution or a wait takes longer than the device allows"),
        ("device.watchdog_ns=1000", "an execution or a wait takes longer than the device allows"),
    ],
)
def test_what_is_not_modelled_is_refused(overrides: str, reason: str) -> None:
    config = load("tracking=off", *overrides.split())
    with pytest.raises(NotModelledError) as raised:
        predicted_ns(config)
    assert str(raised.value).startswith(reason)


def test_a_run_that_is_not_modelled_has_no_prediction() -> None:
    config = load("tracking=off", "device.noise.enabled=true", "workload.tiles=2", "verify=off")
    outcome = Experiment(config).run()
    assert outcome.verdict is Verdict.OK
    assert outcome.metrics["model/total_ms"] is outcome.metrics["model/residual_pct"] is None


@pytest.mark.parametrize(
    ("knobs", "right_ns", "wrong_ns"),
    [("strategy=pipelined depth=3", 930_000, 1_200_000), ("strategy=batch", 180_000, 240_000)],
)
def test_a_wait_that_is_too_long_fails_in_both(knobs: str, right_ns: int, wrong_ns: int) -> None:
    """Each wait of a run may take 1 ms; a batch of four waits for four executions."""
    overrides = ["workload=matmul", "device.timeout_ms=1", "device.cold_start_ns=0"]
    config = load("tracking=off", *knobs.split(), *overrides)
    for exec_ns in (right_ns, wrong_ns):
        asked = replace(config, device=replace(config.device, exec_ns={"matmul": exec_ns}))
        model = experiment_model(make_plan(asked))
        completes = bool(model.completes(model.times()))
        assert completes is (Experiment(asked).run().verdict is Verdict.OK)
        assert completes is (exec_ns == right_ns)


@st.composite
def models(draw: st.DrawFn) -> PassModel:
    """A model of several profiles, some of whose costs are the same for all."""
    count = draw(st.integers(1, 6))
    cost = st.integers(0, 40)
    costs = cost | st.lists(cost, min_size=count, max_size=count).map(np.array)
    batch, tiles = draw(st.integers(1, 3)), draw(st.integers(1, 60))
    station = st.builds(
        Station,
        st.lists(st.integers(0, 3), min_size=1, max_size=3).map(tuple),
        costs,
        st.fixed_dictionaries(dict.fromkeys({batch, tiles % batch}, costs)),
        st.fixed_dictionaries(dict.fromkeys({batch, tiles % batch}, costs)),
        # In thousandths: half as long again, or several times as long.
        st.just((0, 0)) | st.tuples(costs.map(lambda each: 50 * each), st.just(500)),
    )
    names = ("alloc_ns", "launch_ns", "completion_ns", "command_ns", "cold_ns", "resume_ns")
    return PassModel(
        tuple(draw(st.lists(station, min_size=1, max_size=3))),
        tiles,
        batch,
        in_flight := draw(st.integers(1, 5)),
        in_flight + draw(st.integers(0, 2)),
        suspend_ns=draw(st.integers(0, 200) | st.just(10**9)),
        queue_depth=draw(st.integers(1, 3)),
        chain_length=draw(st.integers(1, 3)),
        **{name: draw(costs) for name in names},
    )


@given(models(), st.none() | st.integers(0, 300), st.booleans())
def test_many_profiles_at_once_are_as_one_by_one(
    model: PassModel, idle_ns: int | None, is_cold: bool
) -> None:
    together = pass_times(model, idle_ns, is_cold, with_intervals=True)
    for profile in range(model.profiles):
        alone = pass_times(model.of(profile), idle_ns, is_cold, with_intervals=True)
        for name, each in vars(alone).items():
            picked = np.atleast_1d(getattr(together, name))[..., profile]
            np.testing.assert_array_equal(picked, each, err_msg=name)


SLOW_START = PassModel(
    (Station((0,), 35, {1: 16}, {1: 4}),), 55, 1, 3, 5, 0, 9, completion_ns=14, queue_depth=3
)
"""Its first rounds take another time than the later ones, with as many tiles in flight."""


@given(models(), st.booleans())
@example(SLOW_START, False)
@settings(max_examples=100)
def test_a_long_pass_is_shortened_without_a_change(model: PassModel, is_cold: bool) -> None:
    model = model.of(0) if model.profiles else model
    short = pass_times(model, 0, is_cold)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("harness.measure.walk.LEAST_ROUNDS", model.tiles)
        assert pass_times(model, 0, is_cold) == short


def test_a_long_pass_costs_little() -> None:
    """A loop over as many tiles takes minutes."""
    stations = tuple(Station(columns, 1000, {1: 10}, {1: 5}) for columns in ((0, 1), (2, 3)))
    model = PassModel(stations, 10**7, in_flight=8, slots=8, launch_ns=20)
    assert pass_times(model).makespan_ns == pytest.approx(10**7 * 500, rel=1e-3)


def test_more_profiles_than_fit_one_walk() -> None:
    launch_ns = np.arange(PROFILES_AT_ONCE + 3)
    model = PassModel((Station((0,), 100, {1: 10}, {1: 5}),), 10, launch_ns=launch_ns)
    np.testing.assert_array_equal(pass_times(model).makespan_ns, 10 * (115 + launch_ns))


def test_numbers_of_a_profile_can_be_arrays() -> None:
    """As `harness sensitivity` and `harness calibrate` vary them."""
    config = load("tracking=off", "strategy=stacked", "workload.tiles=9")
    device = config.device
    assert isinstance(device, Simulator)
    mhz, slower_pct = np.array([400, 847, 1300]), np.array([0, 59, 300])
    channel = np.array([200_000_000, 0, 90_000_000])
    numbers = {"calibrated_mhz": mhz, "exec_ns.attention": np.array([1, 2, 3]) * 10**6}
    numbers |= {"memory.channel_ns_per_mib": channel, "memory.exec_slower_pct": slower_pct}
    found = experiment_model(make_plan(config), numbers).times().makespan_ns
    for index, total_ns in enumerate(found):
        exec_ns = {**device.exec_ns, "attention": (index + 1) * 10**6}
        memory = SharedMemory(int(channel[index]), exec_slower_pct=int(slower_pct[index]))
        changed = replace(device, calibrated_mhz=int(mhz[index]), exec_ns=exec_ns, memory=memory)
        outcome = Experiment(replace(config, device=changed)).run()
        assert outcome.pass_times_ns[0] == total_ns
    assert device.noise == Noise()
    assert device.faults == Faults()


@pytest.mark.parametrize(
    "changes",
    [
        # Contexts of four kernels share two columns.
        ("device.columns=2", "device.switch_ns=300_000"),
        # The device may suspend between two passes.
        ("device.idle_suspend_ns=1000", "device.context_open_ns=0", "device.resume_ns=1000"),
    ],
    ids=["turns", "suspends"],
)
@pytest.mark.parametrize("batch", [1, 2], ids=["single", "batch"])
def test_each_profile_begins_a_pass_where_its_last_one_ended(
    changes: tuple[str, ...], batch: int
) -> None:
    config = load(
        "tracking=off",
        "workload=encoder_block",
        "workload.source=random",
        "strategy=stacked",
        f"strategy.batch={batch}",
        "workload.tiles=5",
        *changes,
    )
    device = config.device
    assert isinstance(device, Simulator)
    launches_ns = [1, 2000, 40_000]
    numbers = {"launch_ns": np.array(launches_ns)}
    found = experiment_model(make_plan(config), numbers).times().makespan_ns
    for launch_ns, total_ns in zip(launches_ns, found, strict=True):
        changed = replace(config, device=replace(device, launch_ns=launch_ns))
        outcome = Experiment(changed).run()
        assert outcome.timed_pass is not None
        assert outcome.pass_times_ns[outcome.timed_pass] == total_ns
