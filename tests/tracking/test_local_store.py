"""The sqlite store: created whole, recovered when it is not, and never at the cost of a file."""

from __future__ import annotations

import shutil
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from support.process import end, error_lines, in_process, process, start
from support.store import filed, import_mlflow, open_client

from harness.tracking import local_store
from harness.tracking.local_store import prepare
from harness.tracking.run_data import RunData
from harness.tracking.store import TrackingError

pytestmark = pytest.mark.slow

SHORT = ("measure.repeats=1", "workload.tiles=3")


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new store, to be copied."""
    import_mlflow()
    path = tmp_path_factory.mktemp("fresh") / "mlflow.db"
    assert prepare(path, str(path.parent / "artifacts")) == []
    return path


@pytest.fixture
def store(fresh: Path, in_folder: Path) -> Path:
    Path("outputs").mkdir()
    return shutil.copy(fresh, Path("outputs/mlflow.db").absolute())


def execute(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_new_store_is_one_whole_file(fresh: Path) -> None:
    assert names(fresh.parent) == {"mlflow.db", "mlflow.db.lock"}
    assert [each.name for each in open_client(fresh).search_experiments()] == ["Default"]


def test_a_current_store_is_left_alone(store: Path) -> None:
    before = store.stat()
    assert prepare(store, "") == []
    assert store.stat().st_mtime_ns == before.st_mtime_ns
    assert not store.with_name("mlflow.db.lock").exists(), "not locked either"


def test_killed_during_creation(in_folder: Path) -> None:
    """Killed at each step of a creation, the next one succeeds."""
    import_mlflow()
    steps = ("_create", "_sync")
    for step in steps:
        code = (
            "import os; from pathlib import Path; from harness.tracking import local_store; "
            "die = lambda path, *_: (path.write_text('half'), os.kill(os.getpid(), 9)); "
            f"local_store.{step} = die; "
            "local_store.prepare(Path('mlflow.db').absolute(), 'artifacts')"
        )
        done = end(start(setup=code, forked=True))
        assert done.code == -9, done
        assert not Path("mlflow.db").exists()
        assert any(name.startswith(".mlflow.db.new-") for name in names(Path.cwd()))
    assert prepare(Path("mlflow.db").absolute(), "artifacts") == []
    assert names(Path.cwd()) == {"mlflow.db", "mlflow.db.lock"}


def half_made(store: Path) -> None:
    """What MLflow leaves when it is killed during its migrations."""
    execute(
        store,
        "CREATE TABLE _alembic_tmp_datasets (name TEXT)",
        "UPDATE alembic_version SET version_num = '1b5f0d9ad7c1'",
    )


def damaged(store: Path) -> None:
    content = bytearray(store.read_bytes())
    content[4096 : len(content)] = b"\xff" * (len(content) - 4096)
    store.write_bytes(content)


@pytest.mark.parametrize("spoil", [half_made, damaged])
def test_a_broken_store_is_moved_aside(store: Path, spoil: Callable[[Path], None]) -> None:
    spoil(store)
    content = store.read_bytes()
    store.with_name("mlflow.db-wal").touch()
    done = process(*SHORT)
    assert (done.code, done.verdicts) == (0, ["OK"])
    (line,) = error_lines(done)
    assert "incomplete or damaged" in line
    (aside,) = Path("outputs").glob("mlflow.db.broken-*[0-9]")
    assert f"moved to {aside.name}; harness publish" in line
    assert aside.read_bytes() == content
    assert [run.info.status for run in filed()] == ["FINISHED"]


def test_a_store_of_an_older_mlflow_is_upgraded(store: Path) -> None:
    """As a copy: the last migration, undone by hand, runs again."""
    from alembic.script import ScriptDirectory

    folder = Path(sys.modules["mlflow"].__file__ or "").parent / "store/db_migrations"
    script = ScriptDirectory(str(folder))
    calls: list[Any] = []
    newest, before = local_store._revisions()[:2]
    assert script.get_current_head() == newest
    execute(store, f"UPDATE alembic_version SET version_num = '{before}'")
    import mlflow.store.db.utils as utils

    def upgrade(engine: Any) -> None:
        calls.append(engine)
        execute(Path(engine.url.database), f"UPDATE alembic_version SET version_num = '{newest}'")

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(utils, "_upgrade_db", upgrade)
        assert prepare(store, "") == []
    assert len(calls) == 1
    assert calls[0].url.database != str(store)
    assert not list(store.parent.glob("*broken*"))
    assert prepare(store, "") == []
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda path: path.write_text("my notes"), "not a sqlite database"),
        (lambda path: execute_new(path, "CREATE TABLE songs (name TEXT)"), "not of MLflow"),
        (
            lambda path: execute(path, "UPDATE alembic_version SET version_num = 'of tomorrow'"),
            "written by a newer MLflow",
        ),
    ],
)
def test_files_that_are_no_broken_store_stay(
    store: Path, change: Callable[[Path], Any], reason: str
) -> None:
    change(store)
    content = store.read_bytes()
    with pytest.raises(TrackingError, match=reason):
        prepare(store, "")
    assert store.read_bytes() == content
    assert not [name for name in names(store.parent) if "broken" in name or ".new-" in name]


def test_a_full_disk_is_not_a_broken_store(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    half_made(store)
    error = sqlite3.OperationalError("database or disk is full")
    error.sqlite_errorcode = sqlite3.SQLITE_FULL
    content = store.read_bytes()

    def fill(path: Path, connection: sqlite3.Connection) -> None:
        raise error

    monkeypatch.setattr(local_store, "_check_origin", fill)
    with pytest.raises(sqlite3.OperationalError):
        prepare(store, "")
    assert store.read_bytes() == content


def execute_new(path: Path, statement: str) -> None:
    path.unlink()
    execute(path, statement)


def test_a_locked_store_is_one_line(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_store, "LOCKED_S", 0)
    with closing(sqlite3.connect(store, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(TrackingError, match="database is locked"):
            prepare(store, "")


def test_a_run_of_a_locked_store_is_published_later(
    store: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("harness.tracking.local_runs.LOCKED_S", 0)
    with in_process(monkeypatch, capfd) as shell:
        assert shell(*SHORT).code == 0
        with closing(sqlite3.connect(store, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            done = shell(*SHORT)
        assert (done.code, done.verdicts) == (1, ["OK"])
        (line,) = error_lines(done)
        assert "database is locked" in line
        assert "the record is stored, but not in MLflow (harness publish stores it there" in line
        assert shell("publish").out.endswith("1 published, 1 already there\n")


def test_eight_processes_make_a_store_together(in_folder: Path) -> None:
    running = [start(*SHORT) for _ in range(8)]
    ended = [end(each) for each in running]
    assert [(done.code, done.err) for done in ended] == [(0, "")] * 8
    assert len(ended[-1].folders) == 8, "a folder each"
    assert [run.info.status for run in filed()] == ["FINISHED"] * 8


def test_rows_are_those_of_mlflow(fresh: Path, tmp_path: Path) -> None:
    """A run written in one transaction, and the same run written by MLflow's client."""
    from mlflow.tracking import MlflowClient

    from harness.tracking.local_runs import LocalRuns
    from harness.tracking.server_runs import ServerRuns

    path = shutil.copy(fresh, tmp_path / "mlflow.db")
    client = MlflowClient(f"sqlite:///{path}")
    experiment = client.create_experiment("both", (tmp_path / "files").as_uri())
    file = tmp_path / "record.json"
    file.write_text("{}")
    metrics = [
        ("time/tile_ms", 1.5, 0),
        *(("sample/total_ms", step / 3, step) for step in range(3)),
    ]
    data = RunData(
        "digest",
        "a name",
        "FAILED",
        1_000,
        {"kernel": "x"},
        {"harness.record": "digest"},
        metrics,
        [file],
    )
    (own,) = LocalRuns(path, experiment, tmp_path / "files").write([data], new=True)
    (theirs,) = ServerRuns(client, experiment).write([data], new=True)
    views = []
    for run_id in (own, theirs):
        run = client.get_run(run_id)
        views.append(str(run.to_dictionary()).replace(run_id, "ID"))
        history = client.get_metric_history(run_id, "sample/total_ms")
        views.append(str([(each.value, each.timestamp, each.step) for each in history]))
        (artifact,) = client.list_artifacts(run_id)
        views.append(str((artifact.path, artifact.file_size)))
        assert (tmp_path / "files" / run_id / "artifacts" / "record.json").read_text() == "{}"
    assert views[:3] == views[3:]
    tables = ("runs", "tags", "params", "metrics", "latest_metrics")
    with closing(sqlite3.connect(path)) as connection:
        for table in tables:
            rows = [
                sorted(
                    str(row).replace(run_id, "ID")
                    for row in connection.execute(
                        f"SELECT * FROM {table} WHERE run_uuid = ?", (run_id,)
                    )
                )
                for run_id in (own, theirs)
            ]
            assert rows[0] == rows[1] != [], table


def test_a_record_has_one_run(fresh: Path, tmp_path: Path) -> None:
    from harness.tracking.local_runs import LocalRuns

    path = shutil.copy(fresh, tmp_path / "mlflow.db")
    runs = LocalRuns(path, "0", tmp_path / "files")
    data = RunData("digest", "a name", "FINISHED", 1_000, {}, {}, [("m", 1.0, 0)], [])
    assert runs.stored({"digest": "/a"}) == set()
    assert runs.write([data], new=True) == runs.write([data], new=False)
    assert runs.stored({"digest": "/a", "other": "/b"}) == {"digest"}
    assert len(open_client(path).search_runs(["0"])) == 1
