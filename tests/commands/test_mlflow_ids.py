"""Stored runs by the ids of their MLflow runs: in their folders, from the store, and wrong ids."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from support.process import Shell, in_process, shared_folder
from support.store import import_mlflow
from support.timed_runs import TIMES, run

from harness.tracking.mlflow import MlflowStore

pytestmark = pytest.mark.slow
STORE = "sqlite:///outputs/mlflow.db"


@dataclass(frozen=True)
class Ids:
    """Ids of runs: of a sweep, its jobs by setting, and one without records."""

    sweep: str
    old: tuple[str, ...]
    new: tuple[str, ...]
    other: str


@pytest.fixture(scope="module")
def ids(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ids]:
    """A store with one sweep of two settings, in the folder of the tests of this file."""
    import_mlflow()
    with shared_folder(tmp_path_factory, "ids") as here:
        path = here / "outputs"
        store = MlflowStore(f"sqlite:///{path}/mlflow.db", str(path / "artifacts"), "harness")
        sweep = path / "sweep"
        parent = store.begin_sweep("sweep", sweep)
        stored = list[str]()
        for number in range(2 * len(TIMES)):
            folder = sweep / str(number)
            folder.mkdir(parents=True)
            ratio, launch_ns = ((1.0, 1), (0.9, 2))[number % 2]
            record = run(ratio * TIMES[number // 2], number, device__launch_ns=launch_ns)
            record.save(folder)
            stored.append(store.log(record, folder, [folder / "record.json"], parent))
        (sweep / "multirun.yaml").touch()
        other = store.file("roadmap", [], {}, {})
        yield Ids(parent, tuple(stored[::2]), tuple(stored[1::2]), other)


@pytest.fixture
def shell(
    ids: Ids, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Shell]:
    with in_process(monkeypatch, capfd) as command:
        yield command


@pytest.fixture(params=["in their folders", "in the store only"])
def place(request: pytest.FixtureRequest, ids: Ids) -> Iterator[None]:
    """Where the records are."""
    sweep, aside = Path("outputs/sweep"), Path("aside")
    if request.param == "in their folders":
        yield
        return
    shutil.move(sweep, aside)
    yield
    shutil.move(aside, sweep)


@pytest.mark.usefixtures("place")
def test_records_by_id(shell: Shell, ids: Ids) -> None:
    done = shell("compare", "--json", ids.old[0], ids.new[0][:8])
    assert (done.code, done.err) == (0, "")
    (row,) = json.loads(done.out)
    assert (row["ratio"], row["pairs"], row["reference"]) == (pytest.approx(0.9), 1, ids.old[0])
    sweep = shell("compare", "--json", "--sweep", ids.sweep[:12])
    (row,) = json.loads(sweep.out)
    assert (row["verdict"], row["pairs"]) == ("FASTER", len(TIMES))
    shown = shell("show", "--json", ids.sweep, ids.old[0], f"tracking.uri={STORE}")
    assert (shown.code, shown.err) == (0, "")
    assert len(json.loads(shown.out)) == 2 * len(TIMES), "each run once"


def test_the_id_of_a_sweep_is_its_folder(shell: Shell, ids: Ids) -> None:
    assert shell("show", ids.sweep).out == shell("show", "outputs/sweep").out
    assert shell("show", ids.sweep, "--pictures", "-q").code == 0
    assert Path("outputs/sweep/curves.png").exists()


def test_a_folder_that_has_another_record_now(shell: Shell, ids: Ids) -> None:
    folder = Path("outputs/sweep/0")
    before = (folder / "record.json").read_bytes()
    replace(run(5.0), preset="changed").save(folder)
    shown = shell("show", ids.old[0], "--json")
    (folder / "record.json").write_bytes(before)
    (row,) = json.loads(shown.out)
    assert (row["strategy"], row["folder"]) == ("baseline", ids.old[0])


@pytest.mark.parametrize("content", [b"", b"SQLite format 3\0, and no more"])
def test_a_store_that_is_not_current_stays_as_it_is(
    shell: Shell, ids: Ids, tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "old.db"
    path.write_bytes(content)
    done = shell("show", ids.old[0], f"tracking.uri=sqlite:///{path}")
    assert (done.code, done.out, len(done.err.splitlines())) == (2, "", 1)
    assert "old.db is incomplete or of another version of MLflow" in done.err
    assert path.read_bytes() == content
    assert [*tmp_path.iterdir()] == [path]


WRONG = [
    ("show 12345678", f"no such folder, and no MLflow run in experiment harness of {STORE}"),
    ("show 1234567", "1234567: no such folder; give"),
    ("show OTHER", "has no record.json; give the id of a run"),
    ("show OLD tracking=off", "tracking=off has no store to find an id in"),
    ("compare OLD NEW tracking.uri=sqlite:///x.db", "sqlite:///x.db does not exist"),
    ("compare OLD NEW tracking.experiment=x", "no MLflow run in experiment x of"),
    ("compare OLD NEW depth=2", "depth=2: compare reads stored runs; only tracking can be"),
    ("show OLD tracking=server tracking.uri=http://127.0.0.1:9", "the server does not answer"),
    ("show outputs/sweep tracking=server", "tracking=server: without effect, because show gets"),
    ("calibrate 12345678", "12345678: no such folder, and no MLflow run"),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG, ids=[each for each, _ in WRONG])
def test_wrong_ids(shell: Shell, ids: Ids, arguments: str, message: str) -> None:
    names = {"OLD": ids.old[0], "NEW": ids.new[0], "OTHER": ids.other}
    done = shell(*(names.get(word, word) for word in arguments.split()))
    assert (done.code, done.out) == (2, "")
    assert len(done.err.splitlines()) == 1
    assert message in done.err
    assert not Path("x.db").exists()


def test_an_id_that_several_runs_begin_with(
    shell: Shell, ids: Ids, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = MlflowStore(f"sqlite:///{Path.cwd()}/outputs/mlflow.db", "", "harness")
    runs = [store._client.get_run(each) for each in ids.old[:2]]
    monkeypatch.setattr("harness.tracking.locate.search", lambda *_: runs)
    done = shell("show", ids.old[0][:8])
    assert (done.code, done.out) == (2, "")
    assert "2 MLflow runs begin with it; give the whole id" in done.err
