"""The table of metrics: every row is complete, and everything else is made from it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.record_samples import AUDIO, SERIAL, TOTALS, a_record

from harness.config.strategy import Strategy
from harness.measure.metric import Better, Measurement, Unit, Work
from harness.measure.metrics import METRICS, SPEEDUP, TABLE, metrics_of
from harness.measure.stats import Ratio
from harness.report.runs import (
    COLUMNS,
    DETAILS,
    FORMATS,
    GBYTES_PER_S,
    GOPS,
    RATES,
    SHARES,
    STALLS,
    table,
)

DIRECTIONS = {
    Better.lower: {
        *(
            "time/total_ms",
            "time/tile_ms",
            "time/open_ms",
            "time/alloc_ms",
            "time/write_ms",
            "time/launch_ms",
        ),
        *("time/wait_ms", "time/read_ms", "time/exec_ms", "time/load_ms"),
        *("dma/overhead_pct", "stall/count"),
        *("time/interval_p50_ms", "time/interval_p95_ms", "time/interval_p99_ms"),
        *("stall/total_ms", "bound/ratio", "verify/mismatches", "hazard/count"),
        *("stall/host_busy_ms", "stall/queue_full_ms", "stall/no_slot_ms"),
        *("idle/fill_ms", "idle/drain_ms", "dma/exposed_ms"),
        *("alloc/steady_state", "harness/self_us"),
    },
    Better.higher: {
        *("device/utilisation", "overlap/efficiency", "throughput/tiles_per_s"),
        *("rtf/end_to_end", "rtf/encoder", "speedup/vs_baseline", "overlap/transfer"),
        *("throughput/gops", "throughput/gbytes_per_s"),
        *("throughput/peak_pct", "throughput/bandwidth_pct"),
    },
    Better.neither: {
        *("bound/total_ms", "rtf/ceiling", "verify/tiles", "model/total_ms", "model/residual_pct")
    },
}


def test_names_are_unique() -> None:
    assert len(METRICS) == len(TABLE)


@pytest.mark.parametrize("metric", TABLE, ids=lambda metric: metric.name)
def test_a_row_is_complete(metric: object) -> None:
    assert metric.description.endswith(".")
    assert metric.name in DIRECTIONS[metric.better]
    ends = {"_ms": Unit.ms, "_us": Unit.us, "_pct": Unit.percent, "tiles_per_s": Unit.rate}
    ends |= {"gops": Unit.gops, "gbytes_per_s": Unit.gbytes}
    for end, unit in ends.items():
        assert (metric.unit is unit) is metric.name.endswith(end)
    assert (metric.compute is None) is (metric.name == SPEEDUP)


def test_columns_of_the_table_have_headings_and_formats() -> None:
    for name in (*COLUMNS, *RATES, *DETAILS):
        assert METRICS[name].heading
        assert name == STALLS or METRICS[name].unit in FORMATS
    headings = [metric.heading for metric in TABLE if metric.heading]
    assert len(set(headings)) == len(headings)


def test_the_terminal_table_is_made_of_the_rows() -> None:
    first, second = a_record(), a_record((50, 51, 52, 50, 51), Strategy(depth=3))
    speedups = [Ratio(1, 1, 1), Ratio(1.9, 2, 2.1)]
    columns, rows = table([first, second], speedups).shown()
    assert dict(zip([column.heading for column in columns], rows[1], strict=True)) == {
        "": "",
        "strategy": "baseline",
        "spread": "3.9%",
        "bound by": "device: matmul",
        "run": "pooled d3 b1 c1",
        "ms/tile": "0.000",
        "write": "0.000",
        "launch": "0.000",
        "wait": "0.000",
        "read": "0.000",
        "stalls": "-",
        "busy": "55.0%",
        "/bound": "1.111",
        "RTF": "36.1",
        "speed-up": "2.00x [1.90, 2.10]",
        "verdict": "OK",
    }


@pytest.mark.parametrize(
    ("speedup", "text"),
    [(Ratio(2, 2, 2), "2.00x"), (Ratio(None, 2, None), "2.00x"), (None, "-")],
)
def test_a_speed_up_without_a_wide_interval(speedup: Ratio | None, text: str) -> None:
    columns, rows = table([a_record(), a_record()], [Ratio(1, 1, 1), speedup]).shown()
    assert columns[-2].heading == "speed-up"
    assert rows[1][-2] == text


def test_allocations_have_a_column_where_there_are_any() -> None:
    record = a_record()
    allocating = replace(record, metrics={**record.metrics, "time/alloc_ms": 0.5})
    for records, shown in (([record], False), ([record, allocating], True)):
        sheet = table(records, [None] * len(records))
        headings = [column.heading for column in sheet.shown()[0]]
        assert ("alloc" in headings) is shown


def test_a_detailed_table_has_predictions() -> None:
    record = a_record()
    predicted = {"model/total_ms": 0.5, "model/residual_pct": -1.25}
    others = replace(record, metrics={**record.metrics, **predicted})
    for detailed in (False, True):
        columns, rows = table([record, others], [None, None], detailed=detailed).shown()
        shown = dict(
            zip([column.heading for column in columns], zip(*rows, strict=True), strict=True)
        )
        assert shown.get("model ms") == (("-", "0.500") if detailed else None)
        assert shown.get("residual") == (("-", "-1.25%") if detailed else None)


def test_what_was_not_timed_has_no_figures_but_counts() -> None:
    found = metrics_of(Measurement(audio=AUDIO, verified=7, mismatches=2, hazards=3))
    assert {name: value for name, value in found.items() if value is not None} == {
        "verify/tiles": 7,
        "verify/mismatches": 2,
        "hazard/count": 3,
    }


def test_metrics_without_a_device_clock_or_audio() -> None:
    blind = replace(TOTALS, exec_ns=None, bound_ns=None, stall_ns=None, stalls=None)
    found = metrics_of(Measurement(blind, allocations=4))
    for name in ("time/exec_ms", "device/utilisation", "bound/ratio", "rtf/encoder", "stall/count"):
        assert found[name] is None
    assert found["alloc/steady_state"] == 4
    assert SERIAL.is_baseline


def test_opening_contexts_is_not_the_harness() -> None:
    """Of 110 ns for 10 tiles, the stages take 100 and opening contexts 7."""
    totals = replace(TOTALS, clock="monotonic", makespan_ns=110, open_ns=7)
    found = metrics_of(Measurement(totals))["harness/self_us"]
    assert found == pytest.approx(0.3e-3)


@pytest.mark.parametrize(
    ("serial_ns", "bound_ns", "efficiency"),
    [(100, 90, 0.0), (110, 100, 1.0), (101, 100, 1.0), (100, 100, 1.0), (102, 98, 0.5)],
)
def test_the_share_of_the_possible_overlap(
    serial_ns: int, bound_ns: int, efficiency: float
) -> None:
    """Of a pass of 100 ns; where no overlap is possible, all of it was achieved."""
    totals = replace(TOTALS, serial_ns=serial_ns, bound_ns=bound_ns)
    assert metrics_of(Measurement(totals))["overlap/efficiency"] == efficiency


def test_no_overlap_is_possible_where_the_bound_is_the_serial_time() -> None:
    totals = replace(TOTALS, makespan_ns=103, serial_ns=101, bound_ns=100)
    assert metrics_of(Measurement(totals))["overlap/efficiency"] == -2.0
    equal = replace(totals, serial_ns=100)
    assert metrics_of(Measurement(equal))["overlap/efficiency"] == 1.0
    rounded = replace(totals, serial_ns=99)
    assert metrics_of(Measurement(rounded))["overlap/efficiency"] == 1.0


@pytest.mark.parametrize(
    ("makespan_ns", "predicted_ns", "residual_pct"),
    [(100, None, None), (100, 100, 0.0), (110, 100, 10.0), (90, 100, -10.0), (0, 0, 0.0)],
)
def test_a_residual_is_what_the_pass_took_longer_than_predicted(
    makespan_ns: int, predicted_ns: int | None, residual_pct: float | None
) -> None:
    totals = replace(TOTALS, makespan_ns=makespan_ns)
    found = metrics_of(Measurement(totals, predicted_ns=predicted_ns))
    assert found["model/residual_pct"] == residual_pct
    total_ms = found["model/total_ms"]
    assert total_ms == (None if predicted_ns is None else predicted_ns / 1e6)
    nothing = metrics_of(Measurement(predicted_ns=predicted_ns))
    assert nothing["model/total_ms"] is nothing["model/residual_pct"] is None


def test_columns_share_the_work() -> None:
    found = metrics_of(Measurement(replace(TOTALS, columns=5)))
    assert found["device/utilisation"] == pytest.approx(55 / 500)


def test_throughput_is_the_work_of_all_tiles() -> None:
    """10 tiles of 30 operations and 20 bytes in 100 ns; the device could do 12 and 5 a ns."""
    work = Work(30, 20, peak_gops=12.0, bandwidth_gbytes_per_s=5.0)
    found = metrics_of(Measurement(TOTALS, work=work))
    assert (TOTALS.tiles, TOTALS.makespan_ns) == (10, 100)
    assert [found[name] for name in (*RATES, *SHARES.values())] == [1e8, 3.0, 2.0, 25.0, 40.0]
    without = metrics_of(Measurement(TOTALS, work=Work(None, 20)))
    assert [without[name] for name in (*RATES, *SHARES.values())] == [1e8, None, 2.0, None, None]
    encoder = metrics_of(Measurement(TOTALS))
    assert [encoder[name] for name in (GOPS, GBYTES_PER_S, *SHARES.values())] == [None] * 4


def test_a_table_has_rates_in_place_of_the_rtf_where_nothing_is_audio() -> None:
    known = a_record()
    rates = {GOPS: 3.0, GBYTES_PER_S: 0.02, "throughput/peak_pct": 25.0}
    metrics = {**known.metrics, "rtf/end_to_end": None, **rates}
    accounting = replace(known.accounting, encoder_tiles=None)
    own = replace(known, metrics=metrics, accounting=accounting)
    older = replace(own, metrics={**metrics, GOPS: None, GBYTES_PER_S: None})
    for records, shown in (
        ([own], {"tiles/s": "100,000,000", "GOPS": "3.0 (25.0%)", "GB/s": "0.02"}),
        ([own, known], {"RTF": "-", "tiles/s": "100,000,000", "GOPS": "3.0 (25.0%)"}),
        ([known], {"RTF": "36.1"}),
        ([older], {"RTF": "-"}),
    ):
        columns, rows = table(records, [None] * len(records)).shown()
        cells = dict(zip([column.heading for column in columns], rows[0], strict=True))
        assert shown.items() <= cells.items()
        assert {"RTF", "tiles/s"} & cells.keys() == {"RTF", "tiles/s"} & shown.keys()
