"""What executions take by their declared costs: published times of products, peaks, precedence."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.small_device import ADD

from harness.api import Pipeline
from harness.config.compose import load
from harness.config.device import PowerMode, Simulator
from harness.config.execution_time import (
    check_columns,
    cost_ns,
    cost_remark,
    exec_ns_of,
    figure_remark,
)
from harness.config.strategy import Strategy
from harness.errors import RequestError
from harness.execution.prepare import deal_columns
from harness.inputs.chain import Chain
from harness.kernel import FixedCost, GemmCost, RooflineCost, load_kernel
from harness.sim.kernel_model import model_of

TILES = {"int8": (64, 64, 64), "bfloat16": (64, 64, 32)}
PUBLISHED_US = {
    ("int8", 512): 276,
    ("int8", 1024): 606,
    ("int8", 2048): 3_797,
    ("bfloat16", 512): 317,
    ("bfloat16", 1024): 1_145,
    ("bfloat16", 2048): 9_675,
}
"""Total of a call of mlir-aie's whole_array design on four columns of a Phoenix (ignite-xdna)."""


def profile(name: str = "phoenix_2026") -> Simulator:
    device = load(f"device={name}").device
    assert isinstance(device, Simulator)
    return device


def gemm(dtype: str, size: int = 1024, columns: int = 4) -> GemmCost:
    return GemmCost(size, size, size, TILES[dtype], dtype, columns=columns)


@pytest.mark.parametrize("name", ["phoenix_2026", "simulator"])
@pytest.mark.parametrize(("dtype", "size"), PUBLISHED_US)
def test_products_take_the_published_time_within_the_stated_error(name, dtype, size) -> None:
    device = profile(name)
    rates = getattr(device, f"gemm_{dtype}")
    whole_ns = device.launch_ns + cost_ns(device, gemm(dtype, size), "x") + device.completion_ns
    error_pct = 100 * abs(whole_ns / 1000 / PUBLISHED_US[dtype, size] - 1)
    # The stated error is rounded.
    assert error_pct <= rates.largest_error_pct + 0.5


def test_products_scale_with_columns_and_clock() -> None:
    """Half the columns, or a slower clock, where the cores limit and not the memory."""
    device, t0_ns = profile(), profile().gemm_bfloat16.t0_ns
    cost = GemmCost(2048, 2048, 2048, (256, 64, 256), "bfloat16")
    slow = replace(device, power_mode=PowerMode.powersaver)
    whole_ns = cost_ns(device, cost, "x") - t0_ns
    assert cost_ns(device, replace(cost, columns=2), "x") - t0_ns == pytest.approx(2 * whole_ns)
    assert cost_ns(slow, cost, "x") - t0_ns == pytest.approx(2.25 * whole_ns)


def test_other_kernels_take_the_longer_of_arithmetic_and_bytes() -> None:
    """Four cores of a column: 256 MAC a cycle each at 1.8 GHz, and a channel of 6.95 GB/s."""
    device = profile()
    computes = cost_ns(device, RooflineCost(3_686_400, 100), "x")
    assert computes == 1_000
    assert cost_ns(device, RooflineCost(3_686_400, 100, "bfloat16"), "x") == 2_000
    assert cost_ns(device, RooflineCost(100, 1 << 20), "x") == 150_900
    # Four columns reach the array's bandwidth, 27 GB/s, before that of their channels.
    assert cost_ns(device, RooflineCost(100, 1 << 20, columns=4), "x") == 38_800


def test_the_profile_comes_before_the_kernels_own_cost() -> None:
    device, spec = profile(), replace(ADD, cost=FixedCost(1800))
    assert exec_ns_of(device, spec) == 1800
    assert exec_ns_of(replace(device, power_mode=PowerMode.powersaver), spec) == 4050
    assert exec_ns_of(replace(device, exec_ns={"add": 7}), spec) == 7
    assert cost_remark(replace(device, exec_ns={"add": 7}), spec) is None
    assert cost_remark(device, spec) == "add: an execution takes 1.8 us, as the kernel declares"


def test_bytes_of_a_kernel_of_several_columns_count_once() -> None:
    """`data_ns` divides those of a wide xclbin by its columns."""
    wide = replace(ADD, cost=RooflineCost(100, 1 << 20, columns=4))
    one = model_of(wide, 100)
    assert one.moved_bytes == 1 << 18, "the simulator gives it one column"
    assert replace(one, columns=4).moved_bytes == 1 << 20
    assert replace(model_of(ADD, 100), columns=4).moved_bytes == 256


def test_a_figure_for_another_kernel_of_the_same_name_is_stated() -> None:
    device, gelu = load("device=simulator").device, load_kernel("gelu")
    in_python = replace(ADD, name="gelu", cost=FixedCost(5_000_000))
    expected = "kernel gelu: an execution takes 8.0 us by device.exec_ns.gelu, whatever its cost; "
    for spec in (in_python, replace(gelu, own=True)):
        assert (figure_remark(device, spec) or "").startswith(expected)
    assert figure_remark(device, gelu) is None
    assert figure_remark(device, replace(in_python, name="own")) is None
    assert figure_remark(load("device=cpu").device, in_python) is None
    with pytest.warns(UserWarning, match=expected), Pipeline([in_python]):
        pass


@pytest.mark.parametrize(
    ("cost", "text"),
    [
        (
            gemm("bfloat16", 512),
            "add: an execution takes 185.2 us by the profile's model of bfloat16 products, whose "
            "error is 3.7 % on average and up to 16 %",
        ),
        (
            RooflineCost(3_686_400, 100),
            "add: an execution takes 1.0 us at the profile's peak and bandwidth: a real one takes "
            "longer",
        ),
    ],
)
def test_the_remark_states_the_error(cost, text: str) -> None:
    assert cost_remark(profile(), replace(ADD, cost=cost)) == text


def test_kernels_that_use_several_columns_have_to_fit() -> None:
    device, wide = profile(), replace(ADD, name="wide", cost=gemm("int8", 512, columns=2))
    check_columns(device, [wide], [2])
    check_columns(device, [wide, ADD], [1, 2])
    # Kernels of one column take turns.
    check_columns(device, [ADD, ADD], [4, 4])
    with pytest.raises(RequestError, match="the contexts use 6 columns"):
        deal_columns(Chain((wide,)), Strategy(columns=3), device)
    with pytest.raises(RequestError) as raised:
        check_columns(device, [wide, ADD], [2, 1])
    assert str(raised.value) == (
        "strategy.columns=2: the contexts use 5 columns by the costs of their kernels (wide 2, add "
        "1), and the device has 4; use a smaller strategy.columns, or run the kernels apart"
    )


@pytest.mark.parametrize(
    ("cost", "text"),
    [
        (None, "device.exec_ns: no figure for kernel add; allowed: attention"),
        (GemmCost(8, 8, 8, (8, 8, 8), "int16"), "no times of products of int16"),
        (RooflineCost(8, 8, "float32"), "no peak for float32 (device.core_macs: int8, bfloat16)"),
    ],
)
def test_a_time_that_no_profile_gives(cost, text: str) -> None:
    with pytest.raises(RequestError) as raised:
        exec_ns_of(profile(), replace(ADD, cost=cost))
    assert text in str(raised.value)
    assert " +device.exec_ns.add=<nanoseconds>" in str(raised.value)
