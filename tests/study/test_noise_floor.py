"""Which stored noise floor holds for which runs, and the plan of pairs on disk."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from support.record_samples import ENVIRONMENT
from support.timed_runs import run

from harness.errors import RequestError
from harness.study.noise_floor import NoiseFloor, conditions, floor_for
from harness.study.pair_plan import PAIRS_FILE, PairPlan

RECORD = run()
FLOOR = NoiseFloor(0.004, 20, RECORD.created, conditions(RECORD), "pooled d1 b1 c1 gelu")


def test_a_floor_of_this_host_and_device_holds(tmp_path: Path) -> None:
    path = FLOOR.save(tmp_path)
    assert path.name == "host-simulator.json"
    assert NoiseFloor.load(path) == FLOOR
    found = floor_for([RECORD], tmp_path)
    assert (found.share, found.doubt) == (0.004, "")
    assert found.line == (
        "noise floor: 0.4 % by 20 pairs of equal runs (pooled d1 b1 c1 gelu, 2026-01-31)"
    )


def test_a_floor_of_another_host_is_refused(tmp_path: Path) -> None:
    path = FLOOR.save(tmp_path)
    moved = replace(RECORD, environment=replace(ENVIRONMENT, host="b"))
    for records in ([moved], [RECORD, moved]):
        found = floor_for(records, tmp_path)
        assert found.share == 0
        assert f"({path}: of host host, not b)" in found.line
    npu = floor_for([replace(RECORD, device="hardware")], tmp_path)
    assert f"({path}: of device simulator, not hardware)" in npu.line


def test_an_old_floor_is_doubted(tmp_path: Path) -> None:
    path = replace(FLOOR, created="2026-01-01T09:00:00.000+00:00").save(tmp_path)
    found = floor_for([replace(RECORD, created="2026-01-31T08:00:00.000+00:00")], tmp_path)
    assert (found.share, found.doubt) == (0.004, "")
    found = floor_for([replace(RECORD, created="2026-02-01T10:00:00.000+00:00")], tmp_path)
    assert found.share == 0.004
    assert found.doubt == f"{path}: 31 days older than the runs; harness noise-floor measures it"


def test_exact_runs_have_none(tmp_path: Path) -> None:
    FLOOR.save(tmp_path)
    found = floor_for([run(device__clock="virtual")], tmp_path)
    assert (found.share, found.line) == (0, "")


WHOLE = {"share": 1, "pairs": 5, "created": "2026-01-01T00:00+00:00", "conditions": {}}


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        '{"share": 1}',
        json.dumps({**WHOLE, "workload": "", "share": "x"}),
        json.dumps({**WHOLE, "workload": "", "created": "2026-01-01"}),
        json.dumps({**WHOLE, "workload": "", "created": 1}),
    ],
)
def test_a_damaged_floor_is_refused(tmp_path: Path, content: str) -> None:
    FLOOR.save(tmp_path).write_text(content)
    found = floor_for([RECORD], tmp_path)
    assert found.share == 0
    assert "host-simulator.json: damaged (" in found.line
    assert "\n" not in found.line
    assert "NoiseFloor" not in found.line


def test_a_plan_without_some_records(tmp_path: Path) -> None:
    plan = PairPlan(["a", "b", "c"])
    for number, (place, setting) in enumerate([(0, 1), (0, 0), (0, 2), (1, 0), (1, 2)]):
        plan.ended(place, setting, str(number))
    plan.save(tmp_path)
    loaded = PairPlan.load(tmp_path)
    assert loaded == plan
    assert loaded
    records = {str(number): run(number) for number in range(5)}
    assert [len(row.reference) for row in loaded.rows(records)] == [1, 2]
    del records["0"]
    assert [len(row.reference) for row in loaded.rows(records)] == [0, 2]
    assert PairPlan.load(tmp_path / "absent") is None
    (tmp_path / PAIRS_FILE).write_text('{"settings": 1}')
    with pytest.raises(RequestError, match="damaged"):
        PairPlan.load(tmp_path)
