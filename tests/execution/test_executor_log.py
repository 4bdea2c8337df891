"""Exact (stage, tile, start, end) logs of small passes, worked out by hand: one for each knob.

Costs in ns: alloc 1 a bo, write 10, launch 20, exec 100, completion 7, read 5, chained command 3.
"""

from __future__ import annotations

import pytest
from support.small_device import ADD, make_backend, make_tiles, run_pass

from harness.config.strategy import Buffers, Strategy
from harness.device.xrt.session import XrtSession
from harness.execution.executor import Executor
from harness.execution.verify import OutputCopies


def host(log: list[tuple[str, int, int, int]]) -> list[tuple[str, int, int, int]]:
    return [entry for entry in log if entry[0] not in ("exec", "load")]


def device(log: list[tuple[str, int, int, int]]) -> list[tuple[str, int, int, int]]:
    return [entry for entry in log if entry[0] in ("exec", "load")]


def test_serial() -> None:
    assert run_pass(2).log() == [
        ("write", 0, 0, 10),
        ("launch", 0, 10, 30),
        ("wait", 0, 30, 137),
        ("exec", 0, 30, 130),
        ("read", 0, 137, 142),
        ("write", 1, 142, 152),
        ("launch", 1, 152, 172),
        ("wait", 1, 172, 279),
        ("exec", 1, 172, 272),
        ("read", 1, 279, 284),
    ]


def test_buffers_per_tile_allocates_before_each_write() -> None:
    assert run_pass(2, buffers=Buffers.per_tile).log() == [
        ("alloc", 0, 0, 2),
        ("write", 0, 2, 12),
        ("launch", 0, 12, 32),
        ("wait", 0, 32, 139),
        ("exec", 0, 32, 132),
        ("read", 0, 139, 144),
        ("alloc", 1, 144, 146),
        ("write", 1, 146, 156),
        ("launch", 1, 156, 176),
        ("wait", 1, 176, 283),
        ("exec", 1, 176, 276),
        ("read", 1, 283, 288),
    ]


def test_depth_2_fills_the_column() -> None:
    log = run_pass(3, depth=2).log()
    assert host(log) == [
        ("write", 0, 0, 10),
        ("launch", 0, 10, 30),
        ("write", 1, 30, 40),
        ("launch", 1, 40, 60),
        ("wait", 0, 60, 137),
        ("read", 0, 137, 142),
        ("write", 2, 142, 152),
        ("launch", 2, 152, 172),
        ("wait", 1, 172, 237),
        ("read", 1, 237, 242),
        ("wait", 2, 242, 337),
        ("read", 2, 337, 342),
    ]
    assert device(log) == [("exec", 0, 30, 130), ("exec", 1, 130, 230), ("exec", 2, 230, 330)]


def test_prefetch_stages_the_next_tile_while_one_executes() -> None:
    log = run_pass(3, prefetch=1).log()
    assert host(log) == [
        ("write", 0, 0, 10),
        ("launch", 0, 10, 30),
        ("write", 1, 30, 40),
        ("wait", 0, 40, 137),
        ("read", 0, 137, 142),
        ("launch", 1, 142, 162),
        ("write", 2, 162, 172),
        ("wait", 1, 172, 269),
        ("read", 1, 269, 274),
        ("launch", 2, 274, 294),
        ("wait", 2, 294, 401),
        ("read", 2, 401, 406),
    ]
    assert device(log) == [("exec", 0, 30, 130), ("exec", 1, 162, 262), ("exec", 2, 294, 394)]


def test_batch_is_one_sync_one_runlist_one_wait_one_sync() -> None:
    log = run_pass(5, batch=2).log()
    assert host(log) == [
        ("write", 0, 0, 10),
        ("launch", 0, 10, 30),
        ("wait", 0, 30, 240),
        ("read", 0, 240, 245),
        ("write", 2, 245, 255),
        ("launch", 2, 255, 275),
        ("wait", 2, 275, 485),
        ("read", 2, 485, 490),
        ("write", 4, 490, 500),
        ("launch", 4, 500, 520),
        ("wait", 4, 520, 627),
        ("read", 4, 627, 632),
    ]
    assert device(log) == [
        ("exec", 0, 30, 130),
        ("exec", 1, 130, 233),
        ("exec", 2, 275, 375),
        ("exec", 3, 375, 478),
        ("exec", 4, 520, 620),
    ]


def test_columns_work_at_once() -> None:
    timeline = run_pass(4, columns=2)
    log = timeline.log()
    assert host(log) == [
        ("write", 0, 0, 10),
        ("launch", 0, 10, 30),
        ("write", 1, 30, 40),
        ("launch", 1, 40, 60),
        ("wait", 0, 60, 137),
        ("read", 0, 137, 142),
        ("write", 2, 142, 152),
        ("launch", 2, 152, 172),
        ("wait", 1, 172, 172),
        ("read", 1, 172, 177),
        ("write", 3, 177, 187),
        ("launch", 3, 187, 207),
        ("wait", 2, 207, 279),
        ("read", 2, 279, 284),
        ("wait", 3, 284, 314),
        ("read", 3, 314, 319),
    ]
    assert device(log) == [
        ("exec", 0, 30, 130),
        ("exec", 1, 60, 160),
        ("exec", 2, 172, 272),
        ("exec", 3, 207, 307),
    ]
    assert timeline.rows[timeline.rows[:, 0] == 6][:, 3].tolist() == [0, 1, 0, 1]


def test_stacked_batches_overlap() -> None:
    assert device(run_pass(4, batch=2, depth=2).log()) == [
        ("exec", 0, 30, 130),
        ("exec", 1, 130, 233),
        ("exec", 2, 233, 333),
        ("exec", 3, 333, 436),
    ]


def test_a_full_queue_blocks_the_launch() -> None:
    log = run_pass(6, depth=6).log()
    launches = [entry for entry in log if entry[0] == "launch"]
    assert launches[:4] == [("launch", i, 10 + 30 * i, 30 + 30 * i) for i in range(4)]
    assert launches[4] == ("launch", 4, 130, 150), (
        "a fifth place is free only when tile 0 has ended, at 130"
    )
    assert launches[5] == ("launch", 5, 160, 230), "and a sixth when tile 1 has"


def test_a_cold_context_loads_before_its_first_execution() -> None:
    backend = make_backend(cold_start_ns=1000)
    strategy, tiles = Strategy(), make_tiles(ADD, 2)
    executor = Executor([XrtSession(backend, tiles.spec, 1, 1000)], strategy, 2)
    cold = executor.run(tiles, OutputCopies(tiles, 2)).timeline().log()
    assert device(cold) == [("load", 0, 30, 1030), ("exec", 0, 1030, 1130), ("exec", 1, 1172, 1272)]
    assert device(executor.run(tiles, OutputCopies(tiles, 2)).timeline().log())[0] == (
        "exec",
        0,
        30,
        130,
    )


@pytest.mark.parametrize("knobs", [{}, {"batch": 4}, {"depth": 3, "columns": 2, "prefetch": 1}])
def test_no_tiles_take_no_time(knobs: dict[str, int]) -> None:
    timeline = run_pass(0, **knobs)
    assert timeline.log() == []
    assert timeline.tiles == 0
