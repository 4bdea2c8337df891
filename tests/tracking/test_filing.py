"""MLflow as an index of the records: what is filed, and under what; nothing else is touched."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.process import (
    ROOT,
    Done,
    Shell,
    end,
    in_process,
    process,
    rows,
    shared_folder,
    start,
    wait_for,
)
from support.store import Run, filed, import_mlflow, open_client, parent_id, runs_of

pytestmark = pytest.mark.slow


SERIAL = ("strategy.batch=1", "strategy.columns=1")
"""Against what the phase sets."""
TOO_SLOW = ("device.exec_ns.attention=5_000_000", "device.timeout_ms=1")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with shared_folder(tmp_path_factory, "tracking") as path:
        yield path


@pytest.fixture(scope="module")
def shell(folder: Path) -> Iterator[Shell]:
    import_mlflow()
    with pytest.MonkeyPatch.context() as monkeypatch, in_process(monkeypatch) as run:
        yield run


@pytest.fixture(scope="module")
def sweep(shell: Shell) -> Done:
    knobs = ["strategy=baseline,pipelined", "depth=3", "seed=7,8"]
    return shell(
        "-m", *knobs, "phase=multicore", *SERIAL, "workload=attention", "workload.tiles=20"
    )


@pytest.fixture(scope="module")
def partly_failed(shell: Shell) -> Done:
    return shell("-m", TOO_SLOW[0], "device.timeout_ms=1,5000")


def parent_of(run: Run) -> Run:
    (parent,) = (each for each in filed() if each.info.run_id == parent_id(run))
    return parent


def test_no_arguments(sweep: Done) -> None:
    before = len(filed())
    done = process()
    assert (done.code, done.err) == (0, "")
    assert rows(done.out)[0].startswith("pooled d2 b1 c1 ")
    assert len(filed()) == before + 1, "tracked if not told otherwise"


def test_what_is_filed_of_each_run(sweep: Done) -> None:
    assert sweep.code == 0
    assert len(sweep.folders) == 4
    for record, run in zip(sweep.records, runs_of(sweep), strict=True):
        assert run.info.status == "FINISHED"
        assert run.info.run_name == record["name"]
        knobs = {f"strategy.{key}": str(value) for key, value in record["knobs"].items()}
        given = dict(override.split("=") for override in record["overrides"])
        assert run.data.params == {
            **knobs,
            "kernel": "attention",
            "workload": "attention",
            "workload.tiles": "20",
            "seed": given["seed"],
            "phase": "multicore",
        }
        tags = {
            key: run.data.tags[key]
            for key in (
                "phase",
                "strategy",
                "device",
                "label",
                "verdict",
                "config_hash",
                "stop",
                "oracle",
            )
        }
        assert tags == {
            "phase": "multicore",
            "strategy": given["strategy"],
            "device": "simulator",
            "label": record["label"],
            "verdict": "OK",
            "config_hash": record["config_hash"],
            "stop": "exact",
            "oracle": "reference",
        }


def test_metrics_are_the_records(sweep: Done) -> None:
    for record, run in zip(sweep.records, runs_of(sweep), strict=True):
        known = {name: value for name, value in record["metrics"].items() if value is not None}
        filed_metrics = dict(run.data.metrics)
        low, ratio, high = (
            filed_metrics.pop(f"speedup/vs_baseline{name}") for name in ("_low", "", "_high")
        )
        assert low <= ratio <= high
        assert filed_metrics.pop("sample/total_ms") == record["samples"]["total_ns"][-1] / 1e6
        assert filed_metrics == known
        history = open_client(Path("outputs/mlflow.db")).get_metric_history(
            run.info.run_id, "sample/total_ms"
        )
        samples = [metric.value for metric in sorted(history, key=lambda metric: metric.step)]
        assert samples == [total_ns / 1e6 for total_ns in record["samples"]["total_ns"]]


def test_artifacts_are_the_files(sweep: Done) -> None:
    for place, run in zip(sweep.folders, runs_of(sweep), strict=True):
        kept = Path(run.info.artifact_uri.removeprefix("file://"))
        assert kept.is_relative_to(Path("outputs/artifacts").absolute())
        originals = {"record.json": place, "trace.json": place, "config.yaml": place / ".hydra"}
        assert {path.name for path in kept.iterdir()} == set(originals)
        for name, origin in originals.items():
            assert (kept / name).read_bytes() == (origin / name).read_bytes()


def test_a_sweep_is_one_parent(sweep: Done) -> None:
    runs = runs_of(sweep)
    parent = parent_of(runs[0])
    assert [parent_id(run) for run in runs] == [parent.info.run_id] * 4
    assert parent.info.status == "FINISHED"
    assert parent.data.metrics == {"sweep/OK": 4}
    assert parent.data.tags["sweep"] == str(sweep.folders[0].parent.absolute())


def test_children_have_their_speed_up(sweep: Done) -> None:
    totals = [record["metrics"]["time/total_ms"] for record in sweep.records]
    speedups = [run.data.metrics["speedup/vs_baseline"] for run in runs_of(sweep)]
    assert [record["config"]["seed"] for record in sweep.records] == [7, 8, 7, 8]
    assert speedups == pytest.approx([1, 1, totals[0] / totals[2], totals[1] / totals[3]])
    assert speedups[2] > 1.05


def test_a_failed_run_is_failed_there_too(shell: Shell) -> None:
    done = shell(*TOO_SLOW)
    assert done.code == 1
    (run,) = runs_of(done)
    assert (run.info.status, run.data.tags["verdict"]) == ("FAILED", "FAILED")
    assert run.data.tags["reason"] == done.record["reason"] != ""
    assert "time/total_ms" not in run.data.metrics
    assert parent_id(run) is None


def test_a_sweep_with_a_failed_run(partly_failed: Done) -> None:
    assert partly_failed.code == 1
    failed, right = runs_of(partly_failed)
    assert (failed.info.status, right.info.status) == ("FAILED", "FINISHED")
    parent = parent_of(failed)
    assert (parent.info.status, parent.data.metrics) == (
        "FAILED",
        {"sweep/FAILED": 1, "sweep/OK": 1},
    )


def test_no_run_is_left_open(sweep: Done, partly_failed: Done) -> None:
    assert not [run for run in filed() if run.info.status == "RUNNING"]


def test_a_sweep_leaves_another_that_runs_alone(sweep: Done, shell: Shell) -> None:
    def still_running() -> list[str]:
        return [run.info.run_id for run in filed() if run.info.status == "RUNNING"]

    other = start("-m", "workload.tiles=20000,20001", "measure.repeats=10000")
    wait_for(still_running, other)
    begun = still_running()
    done = shell("-m", "depth=1,2", "workload.tiles=3")
    assert still_running() == begun
    assert {parent_id(run) for run in runs_of(done)}.isdisjoint(begun)
    other.send_signal(signal.SIGINT)
    assert end(other).code == 130
    assert not still_running()


@pytest.mark.parametrize("flags", [[], ["-m", "depth=1,2"]], ids=["run", "sweep"])
def test_without_tracking_mlflow_is_not_imported(in_folder: Path, flags: list[str]) -> None:
    code = (
        "import sys; from harness.commands.main import dispatch; code = dispatch(sys.argv[1:]); "
        "sys.exit(code or ' '.join({'mlflow', 'matplotlib', 'sqlalchemy'} & set(sys.modules)) or 0)"
    )
    command = [sys.executable, "-c", code, *flags, "tracking=off"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert {path.name for path in Path("outputs").iterdir()} == {
        path.name for path in Path("outputs").glob("20*")
    }


def test_nothing_is_written_beside_outputs(sweep: Done, partly_failed: Done) -> None:
    assert [path.name for path in Path.cwd().iterdir()] == ["outputs"]


@pytest.mark.parametrize(
    "override", ["tracking.artifacts=", "tracking.uri=", "tracking.uri=mlruns"]
)
def test_no_mlruns_whatever_is_asked(in_folder: Path, override: str) -> None:
    done = process(override)
    assert {path.name for path in Path.cwd().iterdir()} <= {"outputs"}
    assert all(line.startswith("harness: tracking.") for line in done.err.splitlines())
