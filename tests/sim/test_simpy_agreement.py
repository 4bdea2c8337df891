"""The simulated pipeline against its SimPy model: the same makespan and executions, to the ns."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.random_kernels import kernels
from support.simpy_model import Execution, ModelResult, simulate

from harness.config.compose import load
from harness.config.device import Simulator
from harness.config.shared_memory import SharedMemory
from harness.config.strategy import Buffers, Strategy
from harness.device.open import open_backend
from harness.device.xrt.session import XrtSession
from harness.execution.executor import Executor
from harness.inputs.chain import Chain
from harness.inputs.tiles import Tiles
from harness.kernel import Buffer, Direction, KernelSpec, Part, load_kernel
from harness.measure.bounds import makespan_ns
from harness.measure.timeline import Stage, Timeline

pytestmark = pytest.mark.slow


SPEC = KernelSpec(
    name="sample",
    arguments=(
        Buffer("input", (Part("x", (768,)),)),
        Buffer("output", (Part("y", (256,)),), Direction.OUT),
    ),
    reference=lambda x: x[:, :256],
    ops=0,
)
TIMEOUT_MS = 3_600_000


def costs(default_ns: int) -> st.SearchStrategy[int]:
    return st.integers(0, 3 * default_ns) | st.sampled_from([0, default_ns])


profiles = st.builds(
    Simulator,
    device_open_ns=costs(11_000_000),
    context_open_ns=costs(60_000_000),
    cold_start_ns=costs(3_300_000),
    alloc_ns=costs(12_000),
    write_fixed_ns=costs(21_863),
    read_fixed_ns=costs(7_954),
    sync_ns_per_mib=costs(11_700),
    launch_ns=costs(69_000),
    completion_ns=costs(60_000),
    chain_command_ns=costs(27_700),
    # Kernels that take milliseconds, and kernels so short that everything waits for the host.
    exec_ns=st.fixed_dictionaries({SPEC.name: costs(1_910_000) | costs(30_000)}),
    memory=st.just(SharedMemory())
    | st.builds(
        SharedMemory,
        channel_ns_per_mib=costs(150_900) | costs(10**8),
        array_ns_per_mib=costs(38_800) | costs(10**8),
        exec_slower_pct=costs(59),
        sync_slower_pct=costs(53),
    ),
    queue_depth=st.integers(1, 6),
    chain_length=st.integers(1, 24) | st.just(24),
)
strategies = st.builds(
    Strategy,
    buffers=st.sampled_from(Buffers),
    depth=st.integers(1, 6),
    batch=st.integers(1, 30),
    prefetch=st.integers(0, 3),
    columns=st.integers(1, 4),
)


def run_passes(
    profile: Simulator, strategy: Strategy, spec: KernelSpec, tiles: int, passes: int
) -> list[Timeline]:
    """Passes one after another over the same contexts: only the first one begins cold."""
    packed = tuple(np.zeros((1, buffer.size_bytes), np.uint8) for buffer in spec.inputs)
    world = open_backend(profile, spec, computes=False)
    session = XrtSession(world, spec, strategy.columns, TIMEOUT_MS)
    executor = Executor([session], strategy, tiles)
    inputs = Tiles(Chain((spec,)), packed, audio_s=1.0, host_ns=0)
    return [executor.run(inputs, lambda first, outputs: None).timeline() for _ in range(passes)]


def model(
    profile: Simulator, strategy: Strategy, spec: KernelSpec, tiles: int, *, cold: bool
) -> ModelResult:
    exec_ns = profile.exec_of(spec.name)
    inputs, outputs = (
        [each.size_bytes for each in buffers] for buffers in (spec.inputs, spec.outputs)
    )
    bos = len(spec.buffers)
    return simulate(profile, strategy, tiles, inputs, outputs, exec_ns, cold, bos)


def executions(timeline: Timeline) -> list[Execution]:
    return [
        (tile, column, start, end)
        for _, tile, _, column, start, end, _ in timeline.of(Stage.EXEC).tolist()
    ]


@settings(max_examples=300)
@given(
    profile=profiles,
    strategy=strategies,
    tiles=st.integers(0, 60),
    spec=st.just(SPEC) | kernels(SPEC.name),
)
def test_any_pass_takes_the_models_time(profile, strategy, tiles, spec):
    for timeline, cold in zip(
        run_passes(profile, strategy, spec, tiles, passes=2), (True, False), strict=True
    ):
        expected = model(profile, strategy, spec, tiles, cold=cold)
        assert makespan_ns(timeline) == expected.makespan_ns
        assert sorted(executions(timeline)) == sorted(expected.executions)


@pytest.fixture(scope="module")
def phoenix() -> Simulator:
    device = load("device=simulator", "tracking=off").device
    assert isinstance(device, Simulator)
    return device


@pytest.mark.parametrize(
    ("strategy", "total_ns"),
    [
        pytest.param(Strategy(), 20_690_000, id="serial"),
        pytest.param(Strategy(depth=2), 19_259_000, id="pipelined"),
    ],
)
def test_calibrated_profile_gives_the_published_times(phoenix, strategy, total_ns):
    attention = load_kernel("attention")
    _, warm = run_passes(phoenix, strategy, attention, tiles=10, passes=2)
    assert makespan_ns(warm) == total_ns
    assert model(phoenix, strategy, attention, tiles=10, cold=False).makespan_ns == total_ns


def test_cold_serial_pass_adds_the_cold_start(phoenix):
    attention = load_kernel("attention")
    (cold,) = run_passes(phoenix, Strategy(), attention, tiles=10, passes=1)
    assert makespan_ns(cold) == 20_690_000 + 3_300_000
    assert (
        model(phoenix, Strategy(), attention, tiles=10, cold=True).makespan_ns
        == 20_690_000 + 3_300_000
    )


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_full_queue_holds_the_host(phoenix, depth):
    """Ten one-tile chains into one place: the ninth's end frees the host, which awaits the last."""
    profile = replace(phoenix, queue_depth=1, chain_length=1, exec_ns={SPEC.name: 1_000_000})
    strategy = Strategy(depth=depth, batch=10)
    _, warm = run_passes(profile, strategy, SPEC, tiles=10, passes=2)
    (launch,) = warm.of(Stage.LAUNCH).tolist()
    assert launch[5] - launch[4] == profile.launch_ns + 9 * 1_000_000
    assert makespan_ns(warm) == model(profile, strategy, SPEC, tiles=10, cold=False).makespan_ns
