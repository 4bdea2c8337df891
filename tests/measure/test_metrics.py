"""Metrics, bounds and statistics of timelines written down by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.small_device import run_pass

from harness.measure.audio_accounting import GUIDE_TILES_PER_WINDOW, encoder_tiles
from harness.measure.bounds import bounds
from harness.measure.metric import Measurement, Metrics
from harness.measure.metrics import METRIC_NAMES, metrics_of, pass_metrics
from harness.measure.rtf import Audio, encoder_time
from harness.measure.stats import Ratio, median_index, percentile, ratio_interval, samples_needed
from harness.measure.timeline import Stage, Timeline
from harness.measure.totals import Totals, stalls_ns, sum_totals, totals_of

SPANS = [
    (Stage.WRITE, 0, 1, 0, 0, 10, 0),
    (Stage.LAUNCH, 0, 1, 0, 10, 30, 0),
    (Stage.WRITE, 1, 1, 0, 30, 40, 0),
    (Stage.WAIT, 0, 1, 0, 40, 137, 0),
    (Stage.READ, 0, 1, 0, 137, 142, 0),
    (Stage.LAUNCH, 1, 1, 0, 142, 162, 0),
    (Stage.WAIT, 1, 1, 0, 162, 270, 0),
    (Stage.READ, 1, 1, 0, 270, 275, 0),
]
INTERVALS_NS = np.array([270 - 137])
EXECUTIONS = [(Stage.EXEC, 0, 1, 0, 30, 130, 0), (Stage.EXEC, 1, 1, 0, 162, 262, 0)]


NOT_OF_A_PASS = (
    "rtf/end_to_end",
    "rtf/encoder",
    "rtf/ceiling",
    "hazard/count",
    "alloc/steady_state",
    "speedup/vs_baseline",
    "model/total_ms",
    "model/residual_pct",
    "throughput/gops",
    "throughput/gbytes_per_s",
    "throughput/peak_pct",
    "throughput/bandwidth_pct",
)


def rtf_metrics(totals: Totals, audio: Audio) -> Metrics:
    return metrics_of(Measurement(totals, audio=audio))


def timeline(has_device: bool = True, clock: str = "virtual") -> Timeline:
    rows = np.array(SPANS + EXECUTIONS * has_device, dtype=np.int64)
    return Timeline(rows, tiles=2, kernel_columns=(1,), clock=clock, has_device=has_device)


def test_pass_metrics_by_hand() -> None:
    found = pass_metrics(timeline(), INTERVALS_NS)
    assert found == {
        "time/total_ms": 275e-6,
        "time/tile_ms": 137.5e-6,
        "time/interval_p50_ms": None,
        "time/interval_p95_ms": None,
        "time/interval_p99_ms": None,
        "time/open_ms": 0,
        "time/alloc_ms": 0,
        "time/write_ms": 10e-6,
        "time/launch_ms": 20e-6,
        "time/wait_ms": 102.5e-6,
        "time/read_ms": 5e-6,
        "time/exec_ms": 100e-6,
        "time/load_ms": 0,
        "dma/overhead_pct": pytest.approx(100 * 30 / 275),
        "dma/exposed_ms": 20e-6,  # the first write and both reads
        "stall/count": 1,
        "stall/total_ms": 32e-6,
        "stall/host_busy_ms": 0,
        "stall/queue_full_ms": 0,
        "stall/no_slot_ms": 32e-6,
        "idle/fill_ms": 30e-6,
        "idle/drain_ms": 13e-6,
        "device/utilisation": pytest.approx(200 / 275),
        "overlap/efficiency": pytest.approx((284 - 275) / (284 - 242)),
        "overlap/transfer": pytest.approx(10 / 30),
        "bound/total_ms": 242e-6,
        "bound/ratio": pytest.approx(275 / 242),
        "throughput/tiles_per_s": pytest.approx(2e9 / 275),
        "harness/self_us": None,
        **dict.fromkeys(NOT_OF_A_PASS),
        "verify/tiles": 0,
        "verify/mismatches": 0,
    }


def test_bounds_by_hand() -> None:
    limits = bounds(timeline())
    assert limits is not None
    assert (limits.host_ns, limits.device_ns, limits.fill_ns) == (70, 200, 30)
    assert (limits.completion_ns, limits.drain_ns) == (7, 5)
    assert limits.bound_ns == 30 + 200 + 7 + 5
    assert limits.serial_ns == 70 + 200 + 2 * 7


def test_back_pressure_is_not_work() -> None:
    deep = bounds(run_pass(20, depth=8))
    assert deep is not None
    assert deep.host_ns == 20 * (10 + 20 + 5), "launches that blocked count as the shortest"
    assert deep.bound_ns == 30 + 20 * 100 + 7 + 5


def test_what_cannot_be_seen_is_none() -> None:
    found = pass_metrics(timeline(has_device=False, clock="monotonic"), INTERVALS_NS)
    unseen = {name for name, value in found.items() if value is None}
    assert unseen >= {
        "time/exec_ms",
        "time/load_ms",
        "stall/count",
        "stall/total_ms",
        "stall/host_busy_ms",
        "stall/queue_full_ms",
        "stall/no_slot_ms",
        "idle/fill_ms",
        "idle/drain_ms",
        "dma/exposed_ms",
        "overlap/transfer",
        "device/utilisation",
        "bound/total_ms",
    }
    assert found["harness/self_us"] == 0
    assert stalls_ns(timeline(has_device=False)) is None


def test_time_between_runtime_calls_is_the_harness() -> None:
    rows = np.array(SPANS, dtype=np.int64)
    rows[4:, 4:6] += 3_000
    gapped = Timeline(rows, tiles=2, kernel_columns=(1,), clock="monotonic", has_device=False)
    assert pass_metrics(gapped, INTERVALS_NS)["harness/self_us"] == 1.5


def test_an_empty_pass_has_no_ratios() -> None:
    empty = run_pass(0)
    found = pass_metrics(empty, INTERVALS_NS[:0])
    assert found["time/total_ms"] == 0
    assert found["time/tile_ms"] is found["bound/ratio"] is found["throughput/tiles_per_s"] is None


def test_passes_add_up() -> None:
    """Ratios of a sum are those of its sums, not sums of ratios."""
    one, other = totals_of(timeline()), totals_of(run_pass(20, depth=2))
    both = metrics_of(Measurement(sum_totals([one, other, one]), INTERVALS_NS))
    makespan_ns, bound_ns = 2 * 275 + other.makespan_ns, 2 * 242 + other.bound_ns
    assert both["time/total_ms"] == pytest.approx(makespan_ns / 1e6)
    assert both["time/tile_ms"] == pytest.approx(makespan_ns / 24 / 1e6)
    assert both["stall/count"] == 2 + other.stalls
    assert both["bound/ratio"] == pytest.approx(makespan_ns / bound_ns)
    assert both["device/utilisation"] == pytest.approx((2 * 200 + 20 * 100) / makespan_ns)
    possible_ns = 2 * 284 + other.serial_ns - bound_ns
    assert both["overlap/efficiency"] == pytest.approx(
        (2 * 284 + other.serial_ns - makespan_ns) / possible_ns
    )


def test_what_one_pass_cannot_show_their_sum_cannot() -> None:
    blind = totals_of(timeline(has_device=False))
    both = sum_totals([totals_of(timeline()), blind])
    assert both.exec_ns is both.stalls is both.stall_ns is both.bound_ns is both.serial_ns is None
    assert both.wait_ns == 2 * blind.wait_ns


def test_a_sample_stands_for_more_tiles_at_the_rate_of_its_own() -> None:
    """2 tiles take 275 ns, 6 take 675: the rest takes 100 ns a tile; fill and drain count once."""
    few, many = (
        totals_of(timeline()),
        replace(totals_of(timeline()), tiles=6, makespan_ns=675, exec_ns=600, stalls=4),
    )
    grown = many.extrapolated(few, 1_006)
    assert (grown.tiles, grown.makespan_ns, grown.exec_ns, grown.stalls) == (
        1_006,
        100_675,
        100_600,
        754,
    )
    assert (grown.columns, grown.clock) == (few.columns, few.clock), "are no amounts"
    assert grown.write_ns == many.write_ns, (
        "what does not grow from 2 tiles to 6 does not grow beyond"
    )
    assert replace(many, wait_ns=0).extrapolated(few, 1_006).wait_ns == 0, "nor shrinks by chance"
    assert many.extrapolated(totals_of(timeline(has_device=False)), 12).exec_ns is None
    slow = replace(few, makespan_ns=700)
    assert many.extrapolated(slow, 600).makespan_ns == 67_500, (
        "by a hitch no rate can be told: in proportion"
    )


def test_names_are_those_of_the_contract() -> None:
    audio = Audio(11.0, 304_700_000, 140.625)
    found = metrics_of(Measurement(totals_of(timeline()), INTERVALS_NS, audio))
    assert tuple(found) == METRIC_NAMES


def taking(tile_ns: int, host_ns: int = 0, open_ns: int = 0, tiles: int = 10) -> Totals:
    """Ten tiles of `tile_ns` each, of which the host is at work for `host_ns`."""
    return replace(
        totals_of(timeline()),
        tiles=tiles,
        makespan_ns=tiles * tile_ns,
        alloc_ns=0,
        read_ns=0,
        launch_ns=0,
        write_ns=tiles * host_ns,
        wait_ns=tiles * (tile_ns - host_ns) - open_ns,
        open_ns=open_ns,
        host_bound_ns=None,
    )


@pytest.mark.parametrize(
    ("device_ms", "host_ms", "preprocessing_ms", "apart_ms", "overlapped_ms"),
    [
        (40, 10, 30, 80, 50),  # waiting is long enough to preprocess in
        (40, 10, 60, 110, 70),  # it is not: the one host thread is at work all the time
        (0, 10, 60, 70, 70),  # nothing to overlap with
        (40, 10, 0, 50, 50),
    ],
)
def test_preprocessing_fills_the_waits_of_a_stream(
    device_ms: int, host_ms: int, preprocessing_ms: int, apart_ms: float, overlapped_ms: float
) -> None:
    totals = taking((device_ms + host_ms) * 10**5, host_ms * 10**5, open_ns=device_ms * 10**5)
    for overlaps, whole_ms in ((False, apart_ms), (True, overlapped_ms)):
        audio = Audio(10.0, preprocessing_ms * 10**6, 10, overlaps)
        found = rtf_metrics(totals, audio)
        assert found["rtf/end_to_end"] == pytest.approx(1e4 / whole_ms)
        assert found["rtf/encoder"] == pytest.approx(1e4 / (device_ms + host_ms))


def test_waiting_in_a_full_queue_is_no_work_of_the_host() -> None:
    """Launches that wait for a place take 9 ms of ten; the host's own work is 0.4 ms."""
    totals = replace(
        taking(10**6, 960_000), write_ns=10 * 60_000, launch_ns=10 * 900_000, host_bound_ns=400_000
    )
    found = encoder_time(totals, Audio(10.0, 0, 10))
    assert found is not None
    assert (found.host_s, found.device_s) == (pytest.approx(0.0004), pytest.approx(0.0096))
    assert found.encoder_s == pytest.approx(0.010)


@pytest.mark.parametrize(("tile_ms", "rtf"), [(2.400, 17.1), (1.927, 19.1)])
def test_guide_accounting(tile_ms: float, rtf: float) -> None:
    assert GUIDE_TILES_PER_WINDOW == 140.625
    audio = Audio(11.0, 304_700_000, encoder_tiles("attention", 11.0))
    found = rtf_metrics(taking(round(tile_ms * 1e6)), audio)
    assert found["rtf/end_to_end"] == pytest.approx(rtf, abs=0.05)
    assert found["rtf/ceiling"] == pytest.approx(36.1, abs=0.05)
    assert found["rtf/encoder"] == pytest.approx(11 / (tile_ms * 0.140625))


@pytest.mark.parametrize(("audio_s", "windows"), [(0.1, 1), (11, 1), (30, 1), (30.1, 2), (61, 3)])
def test_audio_is_encoded_in_whole_windows(audio_s: float, windows: int) -> None:
    assert encoder_tiles("attention", audio_s) == windows * 140.625


def alternating(count: int) -> np.ndarray:
    """0 to count - 1, high after low and low after high: no sample follows its like."""
    order = np.arange(count)
    order[1::2] = order[1::2][::-1]
    return order


@pytest.mark.parametrize(("quantile", "needed"), [(0.5, 7), (0.95, 90), (0.99, 459), (0.999, 4603)])
def test_percentiles_need_samples(quantile: float, needed: int) -> None:
    assert samples_needed(quantile) == needed
    assert percentile(alternating(needed - 1), quantile) is None
    assert percentile(alternating(needed), quantile) == pytest.approx(quantile * (needed - 1))


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=9))
def test_the_median_pass_is_a_measured_one(samples: list[int]) -> None:
    chosen = samples[median_index(samples)]
    assert sum(sample < chosen for sample in samples) <= len(samples) / 2
    assert sum(sample > chosen for sample in samples) <= len(samples) / 2


def test_ratio_interval() -> None:
    generator = np.random.default_rng(1)
    slow, fast = generator.normal(200, 2, 50), generator.normal(100, 1, 50)
    found = ratio_interval(slow, fast)
    assert found.low < found.ratio < found.high
    assert found.low > 1.95
    assert found.high < 2.05
    assert ratio_interval([200] * 5, [100] * 5) == Ratio(2, 2, 2)
