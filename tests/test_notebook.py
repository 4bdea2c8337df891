"""`run`, `sweep` and `records` of the Python API: the path of the command, without its output."""

from __future__ import annotations

import gc
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.process import run_folders, shared_folder

from harness.api import records, run, sweep
from harness.errors import RequestError
from harness.results.record import Record

pytestmark = pytest.mark.slow

SHORT = ("tracking=off", "measure.repeats=2", "workload.tiles=3")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with shared_folder(tmp_path_factory, "notebook") as path:
        yield path


@pytest.fixture(scope="module")
def swept(folder: Path) -> list[Record]:
    return sweep("strategy=baseline,pipelined", "seed=1,2", *SHORT)


def test_a_run_is_verified_stored_and_silent(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    handlers, frozen = logging.root.handlers[:], gc.get_freeze_count()
    before = run_folders()
    record = run("strategy=pipelined", "depth=3", *SHORT)
    (stored,) = run_folders() - before
    assert record == Record.load(stored)
    assert (record.label, record.metrics["verify/tiles"]) == ("pooled d3 b1 c1", 12)
    assert capfd.readouterr() == ("", "")
    assert (logging.root.handlers, bool(gc.get_freeze_count())) == (handlers, bool(frozen))


def test_a_sweep_returns_its_records_in_order(swept: list[Record]) -> None:
    assert [(each.preset, each.config["seed"]) for each in swept] == [
        ("baseline", 1),
        ("baseline", 2),
        ("pipelined", 1),
        ("pipelined", 2),
    ]


def test_remarks_are_not_printed(in_folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert len(sweep("seed=3,3", *SHORT)) == 1
    assert capfd.readouterr() == ("", "")


def test_a_failed_run_returns_its_record(folder: Path) -> None:
    record = run("device.exec_ns.attention=5_000_000", "device.timeout_ms=1", "tracking=off")
    assert not record.ok
    assert "timeout" in record.reason or "time" in record.reason


def test_what_cannot_be_stored_is_a_warning(folder: Path) -> None:
    with pytest.warns(UserWarning, match="the record is stored, but not in MLflow"):
        record = run("tracking=server", "tracking.uri=http://127.0.0.1:9", *SHORT[1:])
    assert record.ok


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["depth=0"], "depth=0: out of range"),
        (["depth=1,2"], "add -m to sweep"),
        (["-m", "depth=1"], "-m: a flag; give overrides"),
        (["verfy=off"], "verify"),
    ],
)
def test_a_wrong_request_is_an_exception(
    folder: Path, overrides: list[str], message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    before = run_folders()
    with pytest.raises(RequestError, match=message):
        run(*overrides)
    assert run_folders() == before
    assert capfd.readouterr() == ("", "")


def test_columns_have_types(swept: list[Record]) -> None:
    table = records("outputs")
    assert len(table) == len(run_folders())
    assert str(table.created.dtype).startswith("datetime64")
    assert table.created.is_monotonic_increasing
    for name, kinds in {
        "strategy.depth": "iu",
        "strategy.resident": "b",
        "time/tile_ms": "f",
        "verify/tiles": "f",
        "speedup/vs_baseline_low": "f",
        "workload.tiles": "iu",
        "seed": "iu",
    }.items():
        assert table[name].dtype.kind in kinds, name
    stored = {
        path.parent: json.loads(path.read_text()) for path in Path("outputs").rglob("record.json")
    }
    for row in table.to_dict("records"):
        record = stored[Path(row["folder"])]
        assert row["label"] == record["label"]
        assert row["strategy.depth"] == record["knobs"]["depth"]
        total = record["metrics"]["time/total_ms"]
        assert row["time/total_ms"] == total or total is None


def test_speedups_are_over_the_baseline_of_the_sweep(swept: list[Record]) -> None:
    run("strategy=baseline", "seed=1", *SHORT)
    table = records("outputs")
    for sweep_folder, rows in table.groupby("sweep", dropna=False):
        if not isinstance(sweep_folder, str):
            assert rows["speedup/vs_baseline"].dropna().eq(1).all(), "baselines of themselves"
            continue
        totals = rows.set_index(["preset", "seed"])["time/total_ms"]
        for row in rows.to_dict("records"):
            expected = totals["baseline", row["seed"]] / row["time/total_ms"]
            assert row["speedup/vs_baseline"] == pytest.approx(expected)
    of_records = records(swept)
    assert (of_records["speedup/vs_baseline"] > 1).sum() == 2
    assert of_records.folder.isna().all()


def test_a_folder_without_records(folder: Path) -> None:
    with pytest.raises(RequestError, match="nowhere: no such folder"):
        records("nowhere")
    assert len(records([])) == 0


def test_a_resumed_sweep_has_the_baseline_that_it_did_not_repeat(in_folder: Path) -> None:
    sweep("strategy=baseline", *SHORT)
    results = sweep("strategy=baseline,pipelined", *SHORT)
    assert len(results) == len(run_folders()) == 2
    speedup = records("outputs").set_index("preset")["speedup/vs_baseline"]
    assert speedup["baseline"] == 1
    assert (
        speedup["pipelined"]
        == records(results).set_index("preset")["speedup/vs_baseline"]["pipelined"]
        > 1
    )
