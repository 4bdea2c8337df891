"""Totals, bounds and realtime factors in the corners that a plain pass does not reach."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from support.record_samples import TOTALS

from harness.measure.bounds import bounds, makespan_ns
from harness.measure.rtf import Audio, encoder_time, rtf_ceiling, rtf_encoder, rtf_end_to_end
from harness.measure.timeline import Stage, Timeline
from harness.measure.totals import stalls_ns, sum_totals, totals_of

Row = tuple[int, ...]
CHAIN: list[Row] = [  # stage, tile, tiles, column, start, end, station
    (Stage.WRITE, 0, 1, 0, 0, 10, 0),
    (Stage.LAUNCH, 0, 1, 0, 10, 20, 0),
    (Stage.WAIT, 0, 1, 0, 20, 125, 0),  # seen 5 ns after its end
    (Stage.LAUNCH, 0, 1, 0, 125, 150, 1),
    (Stage.WRITE, 1, 1, 0, 150, 160, 0),
    (Stage.LAUNCH, 1, 1, 0, 160, 170, 0),
    (Stage.WAIT, 0, 1, 0, 170, 300, 1),  # seen 10 ns after its end
    (Stage.READ, 0, 1, 0, 300, 304, 1),
    (Stage.WAIT, 1, 1, 0, 304, 330, 0),
    (Stage.LAUNCH, 1, 1, 0, 330, 340, 1),
    (Stage.WAIT, 1, 1, 0, 340, 500, 1),
    (Stage.READ, 1, 1, 0, 500, 506, 1),
    (Stage.EXEC, 0, 1, 0, 20, 120, 0),
    (Stage.EXEC, 0, 1, 0, 140, 290, 1),  # begins before its launch returns
    (Stage.EXEC, 1, 1, 0, 170, 270, 0),
    (Stage.EXEC, 1, 1, 1, 340, 490, 1),
]


def timeline(rows: list[Row], kernel_columns: tuple[int, ...], later_ns: int = 0) -> Timeline:
    array = np.array(rows, np.int64)
    array[:, 4:6] += later_ns
    kernels = ("a", "b")[: len(kernel_columns)]
    return Timeline(array, 2, kernel_columns, "virtual", has_device=True, kernels=kernels)


@pytest.mark.parametrize("later_ns", [0, 1_000])
def test_bounds_of_a_chain(later_ns: int) -> None:
    """Kernel a has 200 ns on one column, b has 300 ns on two: a has most per column."""
    whole = timeline(CHAIN, (1, 2), later_ns)
    limits = bounds(whole)
    assert limits is not None
    assert (limits.device_ns, limits.columns) == (200, 1)
    assert limits.host_ns == 10 + 10 + 4 + 6 + 4 * 10, "the launch of 25 ns counts as 10"
    assert (limits.fill_ns, limits.completion_ns, limits.drain_ns) == (20, 5, 4)
    assert limits.device_bound_ns == limits.bound_ns == 20 + 200 + 5 + 4
    assert limits.serial_ns == limits.host_ns + 500 + 4 * 5
    assert makespan_ns(whole) == limits.makespan_ns == 506


def test_the_bound_of_more_columns_is_lower() -> None:
    """Both kernels on two columns: b has most work, 300 ns, and 150 ns of it per column."""
    limits = bounds(timeline(CHAIN, (2, 2)))
    assert limits is not None
    assert (limits.device_ns, limits.columns) == (300, 2)
    assert limits.device_bound_ns == 20 + 150 + 5 + 4


def test_a_launch_counts_until_its_execution_begins() -> None:
    """Every launch takes 20 ns, and every execution begins in the 12th of them."""
    rows = [
        *((Stage.LAUNCH, tile, 1, 0, 200 * tile, 200 * tile + 20, 0) for tile in (0, 1)),
        *((Stage.WAIT, tile, 1, 0, 200 * tile + 20, 200 * tile + 115, 0) for tile in (0, 1)),
        *((Stage.READ, tile, 1, 0, 200 * tile + 115, 200 * tile + 117, 0) for tile in (0, 1)),
        *((Stage.EXEC, tile, 1, 0, 200 * tile + 12, 200 * tile + 112, 0) for tile in (0, 1)),
    ]
    limits = bounds(timeline(rows, (1,)))
    assert limits is not None
    assert (limits.host_ns, limits.fill_ns) == (2 * 12 + 2 * 2, 12)


def work(*spans: tuple[int, int]) -> Timeline:
    return timeline([(Stage.EXEC, 0, 1, 0, start, end, 0) for start, end in spans], (1,))


@pytest.mark.parametrize(
    ("spans", "stalls"),
    [
        ([(0, 10), (10, 20)], []),
        ([(0, 10), (11, 20)], [1]),
        ([(30, 40), (0, 10), (15, 20)], [5, 10]),  # in the order of the clock
        ([(0, 30), (5, 10), (20, 25)], []),  # of a chain: one kernel works in another's gap
        ([(0, 30), (5, 10), (32, 40)], [2]),
    ],
)
def test_a_stall_is_a_gap_in_the_work_of_a_column(
    spans: list[tuple[int, int]], stalls: list[int]
) -> None:
    found = stalls_ns(work(*spans))
    assert found is not None
    assert found.tolist() == stalls


@pytest.mark.parametrize(("launched_ns", "stalls"), [(10, []), (11, [5])])
def test_a_gap_before_work_that_was_launched_in_time_is_no_stall(
    launched_ns: int, stalls: list[int]
) -> None:
    """Real threads take time between two executions; both tiles are of one batch or two."""
    for launches in (
        [(Stage.LAUNCH, 0, 2, 0, 0, launched_ns, 0)],
        [(Stage.LAUNCH, tile, 1, 0, 0, launched_ns, 0) for tile in (0, 1)],
    ):
        rows = [(Stage.EXEC, 0, 1, 0, 0, 10, 0), (Stage.EXEC, 1, 1, 0, 15, 20, 0)]
        found = stalls_ns(timeline([*launches, *rows], (1,)))
        assert found is not None
        assert found.tolist() == stalls


def test_stalls_are_of_each_column() -> None:
    rows = [
        (Stage.EXEC, 0, 1, column, start, start + 5, 0) for column in (0, 1) for start in (0, 9)
    ]
    totals = totals_of(timeline(CHAIN, (1, 2)))
    found = stalls_ns(timeline(rows, (2,)))
    assert found is not None
    assert found.tolist() == [4, 4]
    assert (totals.stalls, totals.stall_ns) == (1, 20)


def test_a_sum_of_one_pass_is_that_pass() -> None:
    assert sum_totals([TOTALS]) == TOTALS


def test_a_sum_holds_the_most_columns() -> None:
    assert sum_totals([replace(TOTALS, columns=3), TOTALS]).columns == 3


def test_where_a_shorter_pass_took_as_long_all_is_in_proportion() -> None:
    shorter = replace(TOTALS, tiles=5)
    assert TOTALS.extrapolated(shorter, 1_000).makespan_ns == 100 * TOTALS.makespan_ns


def test_no_audio_has_no_factor() -> None:
    other_kernel = Audio(11.0, 1, None)
    nothing = replace(TOTALS, tiles=0)
    for totals, audio in ((TOTALS, other_kernel), (nothing, Audio(11.0, 1, 10))):
        assert encoder_time(totals, audio) is None
        assert rtf_end_to_end(totals, audio) is None
        assert rtf_encoder(totals, audio) is None
    assert rtf_ceiling(other_kernel) is None


def test_no_time_has_no_factor() -> None:
    instant = replace(TOTALS, makespan_ns=0, wait_ns=0)
    audio = Audio(11.0, 0, 10)
    assert rtf_end_to_end(instant, audio) is None
    assert rtf_encoder(instant, audio) is None
    assert rtf_ceiling(audio) is None
