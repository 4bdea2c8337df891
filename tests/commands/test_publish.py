"""`harness publish`: a record that MLflow lacks gets there, once, whatever happened before."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.process import (
    Done,
    Process,
    Shell,
    end,
    error_lines,
    in_process,
    run_folders,
    shared_folder,
    start,
    wait_for,
)
from support.store import filed, import_mlflow, open_client, parent_id, runs_of
from support.timed_runs import run as timed_run

from harness.commands.main import dispatch
from harness.tracking.mlflow import MlflowStore
from harness.tracking.processes import PID_TAG
from harness.tracking.store import TrackingError

pytestmark = pytest.mark.slow

SHORT = ("measure.repeats=2", "workload.tiles=3")
OPEN_STORE = "harness.commands.result_store:backend_of"
"""Called after the record is stored, and before MLflow is imported."""
URI = "sqlite:///outputs/mlflow.db"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with shared_folder(tmp_path_factory, "publish") as path:
        yield path


@pytest.fixture
def shell(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Shell]:
    import_mlflow()
    with in_process(monkeypatch, capfd) as run:
        yield run


def held_before_mlflow(until: str) -> tuple[Process, Path]:
    """A run that has stored its record, and opens MLflow when the file `until` exists."""
    before = run_folders()
    hold = f"from support.marks import wait_in; wait_in({OPEN_STORE!r}, {until!r})"
    running = start(*SHORT, setup=hold)
    wait_for(lambda: run_folders() - before, running)
    (folder,) = run_folders() - before
    return running, folder


def test_progress_names_what_the_result_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    class Half:
        """A store that has the records of even numbers."""

        def stored(self, folders: dict[str, str], parent: str | None = None) -> set[str]:
            return {key for key, each in folders.items() if int(Path(each).name) % 2 == 0}

        def publish(self, *_: object) -> None:
            pass

    monkeypatch.chdir(tmp_path)
    for number in range(8):
        (tmp_path / "outputs" / str(number)).mkdir(parents=True)
        timed_run(float(1 + number)).save(tmp_path / "outputs" / str(number))
    monkeypatch.setattr("harness.commands.publish.open_store", lambda *_: Half())
    monkeypatch.setattr("harness.commands.publish.BATCH", 3)
    monkeypatch.setattr("harness.commands.publish.PROGRESS_S", 0)
    assert dispatch(["publish"]) == 0
    out, err = capfd.readouterr()
    assert err == "harness: 7 of 8 records checked: 3 published, 4 already there\n"
    assert out == f"{URI}: 4 published, 4 already there\n"


def test_a_sweep_is_published_below_its_parent(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    sweep = shell("-m", "tracking=off", "strategy=baseline,pooled,pipelined", *SHORT)
    assert len(sweep.folders) == 3
    done = shell("publish")
    assert (done.code, done.err) == (0, "")
    assert done.out == f"{URI}: 3 published, 0 already there\n"
    runs = runs_of(sweep)
    (parent,) = (run for run in filed() if not parent_id(run))
    assert [parent_id(run) for run in runs] == [parent.info.run_id] * 3
    assert parent.info.status == "FINISHED"
    assert parent.data.metrics == {"sweep/OK": 3}
    totals = [record["metrics"]["time/total_ms"] for record in sweep.records]
    for run, record, total in zip(runs, sweep.records, totals, strict=True):
        metrics = dict(run.data.metrics)
        assert metrics["speedup/vs_baseline"] == pytest.approx(totals[0] / total)
        known = {name: value for name, value in record["metrics"].items() if value is not None}
        assert metrics.items() >= known.items()
        assert run.info.status == "FINISHED"
        kept = Path(run.info.artifact_uri.removeprefix("file://"))
        assert {each.name for each in kept.iterdir()} == {
            "record.json",
            "trace.json",
            "config.yaml",
        }
    # Once more, also by another path, and a copy of the folder: nothing is stored twice.
    shutil.copytree(sweep.folders[0].parent, "copy")
    for arguments in ([], [str(Path("outputs").absolute())], ["copy"]):
        assert shell("publish", *arguments).out == f"{URI}: 0 published, 3 already there\n"
    assert len(filed()) == 4


def test_a_sweep_that_only_lacks_its_end_is_completed(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as one whose process was killed, or whose server died, after its last run."""
    monkeypatch.chdir(tmp_path)

    def die(*arguments: Any) -> None:
        raise TrackingError("the server died")

    with monkeypatch.context() as dying:
        dying.setattr(MlflowStore, "end_sweep", die)
        sweep = shell("-m", "strategy=baseline,pooled", *SHORT)
    assert sweep.code == 1
    assert sweep.err == (
        "harness: the server died; the runs are in MLflow, but not the report of their sweep "
        "(harness publish stores it there later)\n"
    )
    # While its process lives, a sweep is left to it.
    assert shell("publish").out == f"{URI}: 0 published, 2 already there\n"
    (parent,) = (run for run in filed() if not parent_id(run))
    client = open_client(Path("outputs/mlflow.db"))
    client.set_tag(parent.info.run_id, PID_TAG, Path("/proc/sys/kernel/pid_max").read_text())
    # Of one run: the report has all of them.
    done = shell("publish", str(sweep.folders[0]))
    assert done.out == f"{URI}: 0 published, 1 already there, sweeps completed: 1\n"
    assert shell("publish").out == f"{URI}: 0 published, 2 already there\n"
    parent, *children = shown(sweep)
    assert (parent["status"], parent["metrics"]) == ("FINISHED", {"sweep/OK": 2})
    assert parent["files"] == ["runs.json", "runs.md"]
    assert parent["tags"]["mlflow.note.content"].startswith("Fastest right run: ")
    assert [child["metrics"]["speedup/vs_baseline"] > 0.9 for child in children] == [True, True]


def test_what_is_published_is_what_tracking_at_once_stores(shell: Shell) -> None:
    swept = ("-m", "seed=1,2", "device.exec_ns.attention=2_000_000", "resume=off", *SHORT)
    at_once = shell(*swept)
    later = shell(*swept, "tracking=off")
    assert (at_once.code, later.code) == (0, 0)
    assert shell("publish", str(later.folders[0].parent)).code == 0
    assert shown(later) == shown(at_once)
    parent, *runs = shown(later)
    assert parent["params"] == {
        "seed": "1,2",
        "device.exec_ns.attention": "2_000_000",
        "measure.repeats": "2",
        "workload.tiles": "3",
    }
    assert "| strategy | run | seed |" in parent["tags"]["mlflow.note.content"]
    assert parent["files"] == ["runs.json", "runs.md"]
    for run in runs:
        assert run["params"]["device.exec_ns.attention"] == "2000000"
        assert run["tags"]["accounting"] == "guide"
        assert run["tags"]["mlflow.note.content"].startswith("| strategy | run |")


def shown(sweep: Done) -> list[dict[str, Any]]:
    """What MLflow shows of a sweep and of its runs, without what identifies them."""
    runs = runs_of(sweep)
    (parent,) = (run for run in filed() if run.info.run_id == parent_id(runs[0]))
    return [
        {
            "name": run.info.run_name if run is not parent else "",
            "status": run.info.status,
            "params": {
                key: value
                for key, value in run.data.params.items()
                if key not in ("tracking", "resume")
            },
            "metrics": run.data.metrics,
            "tags": {
                key: value
                for key, value in run.data.tags.items()
                if key
                in ("mlflow.note.content", "mlflow.source.type", "accounting", "phase", "strategy")
            },
            "files": sorted(
                path.name for path in Path(run.info.artifact_uri.removeprefix("file://")).iterdir()
            ),
        }
        for run in (parent, *runs)
    ]


def test_runs_that_mlflow_has_are_left_alone(shell: Shell) -> None:
    done = shell("-m", "strategy=baseline,pooled", *SHORT)
    before = len(filed())
    published = shell("publish", str(done.folders[0].parent))
    assert published.out == f"{URI}: 0 published, 2 already there\n"
    assert len(filed()) == before


def test_a_run_killed_before_mlflow_is_published(shell: Shell) -> None:
    running, newest = held_before_mlflow("never")
    running.kill()
    assert end(running).code == -signal.SIGKILL
    assert shell("publish", str(newest)).out.startswith(f"{URI}: 1 published, 0 already")
    (run,) = (each for each in filed() if each.data.tags.get("record") == str(newest.absolute()))
    assert run.info.status == "FINISHED"


def test_a_run_that_is_stored_by_its_process_is_left_to_it(shell: Shell) -> None:
    running, newest = held_before_mlflow("go")
    done = shell("publish", str(newest))
    assert done.code == 0
    assert done.out == (f"{URI}: 0 published, 0 already there, 1 being stored by other commands\n")
    Path("go").touch()
    assert end(running).code == 0
    assert shell("publish", str(newest)).out.startswith(f"{URI}: 0 published, 1 already")


def test_a_record_that_cannot_be_read_does_not_stop_the_others(shell: Shell) -> None:
    done = shell("-m", "tracking=off", "seed=1,2", *SHORT)
    (done.folders[0] / "record.json").write_text("{")
    published = shell("publish", str(done.folders[0].parent))
    assert published.code == 1
    assert published.out.startswith(f"{URI}: 1 published, 0 already")
    (line,) = error_lines(published)
    assert "it ends too early" in line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tracking=off"], "there is no store to publish to"),
        (["depth=3"], "depth=3: publish reads stored runs; only tracking can be overridden"),
        (["nowhere"], "nowhere: no such folder"),
    ],
)
def test_wrong_requests(shell: Shell, arguments: list[str], message: str) -> None:
    done = shell("publish", *arguments)
    assert (done.code, done.out) == (2, "")
    (line,) = error_lines(done)
    assert message in line


def test_a_dead_server_is_one_line(shell: Shell) -> None:
    shell("tracking=off", *SHORT)
    done = shell("publish", "tracking=server", "tracking.uri=http://127.0.0.1:9")
    assert (done.code, done.out) == (1, "")
    (line,) = error_lines(done)
    assert "http://127.0.0.1:9" in line
    assert line.endswith("; the same command again stores what is left")
