"""Idle time, causes of stalls and exposed transfer, against a count nanosecond by nanosecond."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.experiments import request
from support.small_device import COSTS, run_pass

from harness.config.device import Hazards
from harness.config.strategy import Buffers, Strategy
from harness.execution.experiment import Experiment
from harness.measure.idle import (
    CAUSES,
    Cause,
    column_times,
    exposed_ns,
    stall_causes,
    stall_work,
)
from harness.measure.timeline import DEVICE_WORK, HOST, Stage, Timeline
from harness.measure.totals import stalls, sum_totals, totals_of

SPANS = st.lists(
    st.tuples(
        st.sampled_from([*DEVICE_WORK, Stage.WRITE, Stage.READ]),
        st.integers(0, 2),
        st.integers(0, 60),
        st.integers(0, 12),
    ),
    min_size=1,
    max_size=25,
)


def covered(timeline: Timeline, *stages: Stage, column: int | None = None) -> np.ndarray:
    """Which nanoseconds of a pass some span of these stages covers, (makespan,) bool."""
    begin, end = timeline.rows[:, 4].min(), timeline.rows[:, 5].max()
    ticks = np.zeros(end - begin, bool)
    for stage, _, _, own, start_ns, end_ns, _ in timeline.rows.tolist():
        if stage in stages and column in (None, own):
            ticks[start_ns - begin : end_ns - begin] = True
    return ticks


def check(timeline: Timeline) -> None:
    found = stalls(timeline)
    assert found is not None
    begin, end = timeline.rows[:, 4].min(), timeline.rows[:, 5].max()
    for column, times in enumerate(column_times(timeline, found)):
        parts = (times.busy_ns, times.starved_ns, times.fill_ns, times.drain_ns)
        assert sum(parts) == end - begin
        assert min(parts) >= 0
        works = covered(timeline, *DEVICE_WORK, column=column)
        rows = timeline.rows[np.isin(timeline.rows[:, 0], DEVICE_WORK)]
        if not (rows[:, 3] == column).any():
            assert times.fill_ns == end - begin
            continue
        own = rows[rows[:, 3] == column]
        state = np.full(end - begin, "busy", "U8")
        state[: own[:, 4].min() - begin] = "fill"
        state[own[:, 5].max() - begin :] = "drain"
        for _, stall_begin, stall_end in found[found[:, 0] == column]:
            assert not works[stall_begin - begin : stall_end - begin].any()
            state[stall_begin - begin : stall_end - begin] = "starved"
        assert parts == tuple(
            int((state == name).sum()) for name in ("busy", "starved", "fill", "drain")
        )
        assert not works[state != "busy"].any()
    computes, moved, exposed = covered(timeline, Stage.EXEC), 0, 0
    for stage, _, _, _, start_ns, end_ns, _ in timeline.rows.tolist():
        if stage in (Stage.WRITE, Stage.READ):
            moved += end_ns - start_ns
            exposed += int((~computes[start_ns - begin : end_ns - begin]).sum())
    assert exposed_ns(timeline) == exposed <= moved
    check_causes(timeline, found, begin)


def check_causes(timeline: Timeline, found: np.ndarray, begin: int) -> None:
    """Each cause from the nanosecond of the host before the stall begins."""
    rows = [row for row in timeline.rows.tolist() if row[0] in HOST]
    shortest = min((row[5] - row[4] for row in rows if row[0] == Stage.LAUNCH), default=0)
    causes, work = stall_causes(timeline, found), stall_work(timeline, found)
    for (_, start_ns, end_ns), place, stage in zip(found.tolist(), causes, work, strict=True):
        (current,) = [row for row in rows if row[4] < start_ns <= row[5]] or [None]
        expected = Cause.host_busy
        if current and current[0] == Stage.WAIT:
            expected = Cause.no_slot
        elif current and current[0] == Stage.LAUNCH and start_ns > current[4] + shortest:
            ends = [
                row[5]
                for row in timeline.rows.tolist()
                if row[0] == Stage.EXEC and (row[3], row[6]) == (current[3], current[6])
            ]
            if any(start_ns <= each <= current[5] for each in ends):
                expected = Cause.queue_full
        assert CAUSES[place] is expected
        spent = {
            each.name.lower(): sum(
                max(0, min(row[5], end_ns) - max(row[4], start_ns))
                for row in rows
                if row[0] == each
            )
            for each in HOST
        }
        assert spent[stage] == max(spent.values()) if stage else not any(spent.values())


@settings(max_examples=60)
@given(SPANS)
def test_any_spans(spans: list[tuple[Stage, int, int, int]]) -> None:
    """Spans that overlap in any way, on three columns; transfers of zero length too."""
    rows = [
        (stage, 0, 1, column, start, start + length, 0) for stage, column, start, length in spans
    ]
    # The host's spans follow each other.
    now = 0
    for number, row in enumerate(rows):
        if row[0] in HOST:
            rows[number] = (*row[:4], now, now + row[5] - row[4], 0)
            now += row[5] - row[4]
    check(Timeline(np.array(rows, np.int64), 1, (3,), "virtual", has_device=True))


costs = st.fixed_dictionaries(
    {name: st.integers(0, 40) for name, value in COSTS.items() if isinstance(value, int)}
    | {"queue_depth": st.integers(1, 3), "chain_length": st.integers(1, 3)}
    | {"cold_start_ns": st.integers(0, 60)}
    | {"exec_ns": st.fixed_dictionaries({"add": st.integers(0, 80)})}
)


@settings(max_examples=60)
@given(
    st.integers(1, 12),
    costs,
    st.fixed_dictionaries(
        {
            "buffers": st.sampled_from(Buffers),
            "depth": st.integers(1, 4),
            "batch": st.integers(1, 5),
            "prefetch": st.integers(0, 2),
            "columns": st.integers(1, 4),
        }
    ),
)
def test_every_strategy(tiles: int, cost: dict[str, Any], knobs: dict[str, Any]) -> None:
    check(run_pass(tiles, costs=cost, **knobs))


@settings(max_examples=25)
@given(st.integers(1, 6), costs, st.integers(1, 3), st.integers(1, 3), st.integers(1, 2))
def test_every_chain(
    tiles: int, cost: dict[str, Any], depth: int, columns: int, batch: int
) -> None:
    config, _ = request("workload=encoder_block", "strategy=pipelined", "device.hazards=off")
    exec_ns = dict.fromkeys(("attention", "layernorm", "matmul", "gelu"), cost["exec_ns"]["add"])
    device = replace(config.device, **{**cost, "exec_ns": {**exec_ns, "matmul": 50}})
    assert device.hazards is Hazards.off
    outcome = Experiment(
        replace(
            config,
            device=replace(device, sync_ns_per_mib=0),
            workload=replace(config.workload, tiles=tiles),
            strategy=Strategy(depth=depth, columns=columns, batch=batch),
        )
    ).run()
    assert outcome.timeline
    check(outcome.timeline)


def causes_of(timeline: Timeline) -> list[tuple[str, str]]:
    found = stalls(timeline)
    assert found is not None
    causes = stall_causes(timeline, found).tolist()
    return [
        (CAUSES[place].value, stage)
        for place, stage in zip(causes, stall_work(timeline, found), strict=True)
    ]


def test_a_serial_pass_stalls_because_no_slot_is_free() -> None:
    """Every stall begins while the host waits: completion 7, read 5, write 10, launch 20."""
    assert causes_of(run_pass(4)) == [("no free slot", "launch")] * 3


def test_a_slow_host_is_busy() -> None:
    """Two in flight, and an execution of 1 ns: it ends while the host stages the next tile."""
    found = causes_of(run_pass(6, depth=2, costs={"exec_ns": {"add": 1}, "completion_ns": 0}))
    assert set(found) == {("host busy", "launch")}
    assert ("host busy", "write") in causes_of(
        run_pass(6, depth=2, costs={"exec_ns": {"add": 1}, "write_fixed_ns": 50})
    )


BLOCKED = [  # stage, tile, tiles, column, start, end, kernel
    (Stage.LAUNCH, 0, 1, 0, 0, 10, 0),
    (Stage.LAUNCH, 1, 1, 1, 10, 20, 0),
    (Stage.LAUNCH, 2, 1, 1, 20, 120, 0),  # waits until the execution of tile 1 ends
    (Stage.LAUNCH, 3, 1, 0, 120, 130, 0),
    (Stage.EXEC, 0, 1, 0, 10, 50, 0),
    (Stage.EXEC, 1, 1, 1, 20, 120, 0),
    (Stage.EXEC, 2, 1, 1, 120, 140, 0),
    (Stage.EXEC, 3, 1, 0, 130, 140, 0),
]


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({}, "queue full"),
        ({4: (Stage.EXEC, 0, 1, 0, 10, 30, 0)}, "host busy"),  # within a launch's own time
        ({5: (Stage.EXEC, 1, 1, 1, 20, 40, 0)}, "host busy"),  # no execution ends that it waits for
        ({5: (Stage.EXEC, 1, 1, 1, 20, 121, 0)}, "host busy"),
    ],
)
def test_a_launch_into_another_queue_that_is_full(
    changes: dict[int, tuple[int, ...]], cause: str
) -> None:
    rows = [changes.get(number, row) for number, row in enumerate(BLOCKED)]
    blocked = Timeline(np.array(rows, np.int64), 4, (2,), "virtual", has_device=True)
    assert causes_of(blocked)[0] == (cause, "launch")
    check(blocked)


def test_the_totals_hold_the_sums_of_all_columns() -> None:
    totals = totals_of(run_pass(7, columns=3))
    assert totals.busy_ns is not None
    parts = (totals.busy_ns, totals.stall_ns, totals.fill_ns, totals.drain_ns)
    assert sum(filter(None, parts)) == 3 * totals.makespan_ns
    causes = (totals.stall_host_ns, totals.stall_queue_ns, totals.stall_slot_ns)
    assert sum(filter(None, causes)) == totals.stall_ns
    twice = sum_totals([totals, totals])
    assert (twice.fill_ns, twice.exposed_ns) == (2 * totals.fill_ns, 2 * totals.exposed_ns)


def test_without_device_timestamps_idle_time_is_not_known() -> None:
    totals = totals_of(replace(run_pass(3), has_device=False))
    assert totals.busy_ns is totals.fill_ns is totals.drain_ns is totals.exposed_ns is None
    assert totals.stall_host_ns is totals.stall_queue_ns is totals.stall_slot_ns is None


def test_an_empty_pass() -> None:
    totals = totals_of(run_pass(0))
    assert (totals.busy_ns, totals.fill_ns, totals.drain_ns, totals.exposed_ns) == (0, 0, 0, 0)
