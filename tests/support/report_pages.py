"""Runs with hostile texts in folders of their own, for tests of `harness report`."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np

from harness.config.strategy import Buffers, Strategy
from harness.device.host.state import MachineState
from harness.execution.outcome import MachineStates, Verdict
from harness.hazard import Call, Hazard, Kind
from harness.measure.timeline import Stage, Timeline
from harness.report.trace import save_trace
from harness.results.find import SWEEP_FILE
from harness.results.record import Record
from support.record_samples import CONFIG, ENVIRONMENT, a_record

HOSTILE = '<script>alert("1")</script>&amp;</script><!--'
"""A text that breaks a page which does not escape it, in a tag, in an attribute and in data."""
EXEC_NS = 1_900_000


def overlapped(
    tiles: int, stall_every: int = 4, kernel: str = "attention", slow: range = range(0)
) -> Timeline:
    """A pass over tiles: the host stages and launches while the column executes.

    Before each `stall_every`th tile the column waits for the host. slow: tiles that take longer.
    """
    rows, now, free = [], 0, 0
    for tile in range(tiles):
        if tile % stall_every == 0:
            now = max(now, free + 100_000)
        write, launch = now + 22_000, now + 91_000
        start = max(launch, free)
        free = start + EXEC_NS * (2 if tile in slow else 1)
        spans = [(Stage.WRITE, now, write), (Stage.LAUNCH, write, launch)]
        spans += [(Stage.EXEC, start, free), (Stage.WAIT, launch, start + 1)]
        now = start + 9_000
        rows += [
            (stage, tile, 1, 0, begin, end, 0)
            for stage, begin, end in [*spans, (Stage.READ, start + 1, now)]
        ]
    return Timeline(np.array(rows, np.int64), tiles, (1,), "virtual", True, (kernel,))


def hostile_run(folder: Path) -> Record:
    """Store a run with HOSTILE in every text, a hazard, and a machine that changed."""
    call = Call(f"bo.write {HOSTILE}", f"{HOSTILE}.py", 12, 1_000_000)
    later = Call("run.start", "executor.py", 34, 2_000_000)
    config = copy.deepcopy(CONFIG)
    config["workload"]["source"] = HOSTILE
    before = MachineState(power_mode="default", tenants=[HOSTILE], governor="performance")
    environment = replace(
        ENVIRONMENT, host=HOSTILE, git_commit="0" * 40, git_dirty=True, command=("harness", HOSTILE)
    )
    record = replace(
        a_record(verdict=Verdict.HAZARD, config=config),
        name=f"run {HOSTILE}",
        label=f"pooled d2 b1 c1 {HOSTILE}",
        preset=HOSTILE,
        kernel=HOSTILE,
        reason=f"1 hazard: {HOSTILE}",
        overrides=["workload.tiles=10", f"workload.source={HOSTILE}"],
        environment=environment,
        hazards=(Hazard(Kind.WRITE_IN_FLIGHT, f"bo {HOSTILE}", 0, 64, "run 2", call, later, 3),),
        machine=MachineStates(before, replace(before, power_mode="turbo")),
    )
    _store(record, folder, overlapped(12, kernel=HOSTILE))
    return record


def sweep(folder: Path, runs: int, first_tiles: int = 12) -> list[Record]:
    """Store a sweep over depth and batch, of which every fifth run fails; with noisy times.

    first_tiles: tiles in the timeline of its first run.
    """
    noise = np.random.default_rng(0)
    records = []
    (folder / "0").mkdir(parents=True)
    (folder / SWEEP_FILE).write_text("")
    for place in range(runs):
        depth, batch = place // 2 + 1, place % 2 + 1
        config = copy.deepcopy(CONFIG)
        config["depth"] = depth
        config["strategy"] |= {"depth": depth, "batch": batch}
        middle = 1_926_000 * (1 + 0.2 / depth / batch)
        times = [round(each) for each in middle * noise.normal(1, 0.004, 5)]
        failed = place % 5 == 4
        record = a_record(times, Strategy(buffers=Buffers.pooled, depth=depth, batch=batch), config)
        tile_ms = None if failed else times[0] / 1e6
        rtf = 20 / tile_ms if tile_ms else None
        metrics = {**record.metrics, "time/tile_ms": tile_ms, "rtf/encoder": rtf}
        record = replace(
            record,
            name=f"depth={depth} batch={batch} {record.name}",
            verdict=Verdict.FAILED if failed else Verdict.OK,
            reason="no completion after 5000 ms: run 3 on column 0" if failed else "",
            metrics=metrics,
            hazards=(),
            steps=(),
            overrides=["strategy=pipelined", f"depth={depth}", f"strategy.batch={batch}"],
        )
        timeline = overlapped(12 if place else first_tiles)
        _store(record, folder / str(place), None if failed else timeline)
        records.append(record)
    return records


def _store(record: Record, folder: Path, timeline: Timeline | None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    record.save(folder)
    if timeline:
        save_trace(timeline, record.name, folder)
