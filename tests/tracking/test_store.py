"""The seam of tracking: a backend is a module and a line of YAML."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.process import Shell

from harness import tracking
from harness.config.compose import load
from harness.errors import RequestError
from harness.tracking.store import backend_of

pytestmark = pytest.mark.slow

LINES = """
from pathlib import Path

class Store:
    remarks = ()
    failure = ""

    def log(self, record, folder, artifacts, parent):
        append(f"{record.label} {record.verdict.value}")
        return "1"

    def begin_sweep(self, name, folder, overrides):
        return "2"

    def end_sweep(self, parent, verdicts, speedups, report):
        append(f"{len(verdicts)} runs")

    def run_page(self, run):
        return ""

    def sweep_page(self, parent):
        return ""

def append(line):
    with Path(__file__).with_name("lines.txt").open("a") as file:
        print(line, file=file)

def open_store(tracking, here):
    append("open")
    return Store()
"""


@pytest.fixture
def lines(in_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The backend of LINES, which appends to lines.txt."""
    Path("lines.py").write_text(LINES)
    monkeypatch.setattr(tracking, "__path__", [*tracking.__path__, str(Path.cwd())])
    Path("mine/tracking").mkdir(parents=True)
    Path("mine/tracking/lines.yaml").write_text("kind: local\nbackend: lines\nuri: lines.txt\n")
    yield
    sys.modules.pop("harness.tracking.lines", None)


@pytest.mark.usefixtures("lines")
def test_a_new_backend_is_one_module(shell: Shell) -> None:
    done = shell("--config-dir", "mine", "tracking=lines")
    assert done.code == 0, done.err
    assert Path("lines.txt").read_text().splitlines() == ["open", "pooled d2 b1 c1 OK"]
    assert done.out.splitlines()[-1] == 'lines: run "pooled d2 b1 c1 attention simulator"'


@pytest.mark.usefixtures("lines")
def test_a_sweep_opens_its_store_once(shell: Shell) -> None:
    done = shell("-m", "--config-dir", "mine", "tracking=lines", "strategy=baseline,pooled")
    assert done.code == 0, done.err
    assert Path("lines.txt").read_text().splitlines() == [
        "open",
        "per_tile d1 b1 c1 OK",
        "pooled d1 b1 c1 OK",
        "2 runs",
    ]


def test_an_unknown_backend_is_refused_before_anything_runs(shell: Shell) -> None:
    done = shell("tracking.backend=mlfow")
    assert (done.code, done.out, done.folders) == (2, "", [])
    assert "tracking.backend=mlfow: no such backend; did you mean mlflow?" in done.err


@pytest.mark.parametrize("flags", [[], ["-m"], ["-v"]])
@pytest.mark.parametrize("place", ["argument", "file"])
def test_a_password_in_an_address_is_nowhere(shell: Shell, flags: list[str], place: str) -> None:
    uri = "http://bob:planted@127.0.0.1:9"
    file = Path("mine/tracking/mine.yaml")
    file.parent.mkdir(parents=True)
    file.write_text(f"kind: server\nbackend: mlflow\nuri: {uri}\nartifacts: ''\n")
    arguments = ["tracking=server", f"tracking.uri={uri}"]
    if place == "file":
        arguments = ["--config-dir", "mine", "tracking=mine"]
    done = shell(*flags, *arguments)
    assert (done.code, done.out, done.folders) == (2, "", [])
    assert "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD" in done.err
    assert "planted" not in done.err
    assert [path for path in Path.cwd().rglob("*") if path.is_file()] == [file.absolute()]


def test_off_has_no_backend() -> None:
    assert backend_of(load("tracking=off").tracking) is None
    with pytest.raises(RequestError, match="no such backend"):
        backend_of(load("tracking.backend=store").tracking)
