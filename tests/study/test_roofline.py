"""Where kernels, chains and runs lie under the roofs of a device, and the picture of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.experiments import record_of_run
from support.small_device import ADD

from harness.config.compose import load
from harness.config.device import PowerMode, Simulator
from harness.errors import RequestError
from harness.execution.outcome import Verdict
from harness.kernel import FixedCost, GemmCost, RooflineCost, load_kernel
from harness.report.pictures.roofline import MOST_POINTS, draw
from harness.study.roofline import (
    Placed,
    Point,
    chain_point,
    kernel_point,
    placed,
    roofs_of,
    run_point,
)


@pytest.fixture(scope="module")
def device() -> Simulator:
    found = load("device=phoenix_2026").device
    assert isinstance(found, Simulator)
    return found


def point(name: str = "p", ops: int = 100, size_bytes: int = 10, time_ns: float = 10) -> Point:
    return Point(name, "kernel", "int8", 1, ops, size_bytes, time_ns)


def test_the_published_peaks(device: Simulator) -> None:
    """16 cores at 1.80 GHz: int8 14.7 TOPS, bfloat16 7.37 TFLOPS; 26 to 28 GB/s a direction."""
    whole, one = roofs_of(device, 4), roofs_of(device, 1)
    assert whole.peaks == pytest.approx({"int8": 14_745.6, "bfloat16": 7_372.8})
    assert whole.bandwidth == pytest.approx(27, rel=0.01)
    assert one.bandwidth == pytest.approx(6.95, rel=0.01)
    slow = roofs_of(replace(device, power_mode=PowerMode.powersaver), 1)
    assert slow.peaks["int8"] == pytest.approx(one.peaks["int8"] * 800 / 1800)


@pytest.mark.parametrize(
    ("ops", "peak", "bandwidth", "attainable", "roof", "limit"),
    [
        (100, 15.0, 10.0, 15.0, "compute", "compute"),
        (100, 1500.0, 1.2, 12.0, "memory", "memory"),
        (100, 1500.0, 10.0, 100.0, "memory", "neither"),
        (100, 15.0, None, 15.0, "compute", "compute"),
        (100, None, 1.2, 12.0, "memory", "memory"),
        (100, None, None, None, None, None),
        # Without operations, the share is that of the bandwidth.
        (0, 15.0, 1.2, None, "memory", "memory"),
        (0, 15.0, None, None, None, None),
    ],
)
def test_the_lower_roof_limits(ops, peak, bandwidth, attainable, roof, limit) -> None:
    """10 operations and 1 byte a ns."""
    found = Placed(point(ops=ops), peak, bandwidth)
    assert found.attainable == attainable
    assert (found.roof, found.limit) == (roof, limit)


def test_kernels_execute_on_each_column_and_products_on_all(device: Simulator) -> None:
    spec = replace(ADD, cost=FixedCost(1000))
    one, four = (kernel_point(device, spec, columns) for columns in (1, 4))
    assert (four.ops, four.size_bytes, four.columns) == (4 * one.ops, 4 * one.size_bytes, 4)
    assert four.time_ns == one.time_ns == 1000
    gemm = replace(ADD, ops=0, cost=GemmCost(1024, 1024, 1024, (64, 64, 32), "bfloat16"))
    for columns in (1, 4):
        found = placed(kernel_point(device, gemm, columns), device)
        assert (found.point.dtype, found.point.columns) == ("bfloat16", 4)
        assert found.point.ops == 2 * 1024**3
        # 1,770 GFLOPS are 77 % of what 85 operations a byte allow.
        assert (found.limit, found.share) == ("memory", pytest.approx(0.77, abs=0.01))


def test_a_kernel_at_its_roof(device: Simulator) -> None:
    for cost, limit in (
        (RooflineCost(36_864_000, 100), "compute"),
        (RooflineCost(100, 1 << 20), "memory"),
    ):
        found = placed(kernel_point(device, replace(ADD, ops=0, cost=cost), 1), device)
        assert (found.limit, found.share) == (limit, pytest.approx(1, rel=1e-4))


def test_a_chain_is_the_sum_of_its_kernels() -> None:
    chain = chain_point("block", [point(), point(ops=50, time_ns=30)])
    assert (chain.ops, chain.size_bytes, chain.time_ns) == (150, 20, 40)
    assert chain_point("block", [point(), point(ops=0)]).intensity is None


def test_a_run_counts_the_time_of_the_host(device: Simulator) -> None:
    record = record_of_run("workload=gelu", "strategy=pooled", "verify=off")
    assert record.totals
    found = run_point(record, "mine")
    # 22 operations for each of 512 bytes, ten tiles.
    assert (found.name, found.kind, found.ops) == ("mine", "run", 10 * 22 * 512)
    assert found.time_ns == record.totals.makespan_ns
    assert found.columns == 1
    with pytest.MonkeyPatch.context() as patch:
        cost = GemmCost(64, 64, 64, (64, 64, 64), "int8")
        wide = replace(load_kernel("gelu"), cost=cost)
        patch.setattr("harness.study.roofline.kernel_of_run", lambda name, hashes: wide)
        assert run_point(record, "mine").columns == 4
    with pytest.raises(RequestError, match="mine: left out: not a right run"):
        run_point(replace(record, verdict=Verdict.FAILED), "mine")


def test_the_picture_has_each_point_and_each_roof(device: Simulator) -> None:
    rows = [placed(each, device) for each in (point("a"), point("_b $x$", 1000), point("c", 0))]
    roofs = [roofs_of(device, each) for each in (1, 4)]
    figure = draw(rows, roofs, "title")
    (axes,) = figure.axes
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    lines = {line.get_label().strip(): line for line in axes.get_lines()}
    # c has no operations.
    assert [name for name in lines if "roof" not in name] == ["a (14.4%)", r"_b \$x\$ (14.4%)"]
    assert len([name for name in lines if "roof" in name]) == 4
    roof = lines["int8 roof, 1 column"]
    peak, bandwidth = roofs[0].peaks["int8"], roofs[0].bandwidth
    assert bandwidth
    assert list(roof.get_ydata())[1:] == [peak, peak]
    assert roof.get_xdata()[1] == pytest.approx(peak / bandwidth)
    assert roof.get_ydata()[0] == pytest.approx(roof.get_xdata()[0] * bandwidth)
    many = draw([rows[0]] * (MOST_POINTS + 5), roofs, "title")
    assert f"(the first {MOST_POINTS} of {MOST_POINTS + 5})" in many.get_suptitle()
    with pytest.raises(ValueError, match="declares its operations"):
        draw([rows[2]], roofs, "title")
