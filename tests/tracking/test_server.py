"""A real MLflow server: PostgreSQL, artifacts over HTTP, basic auth; all on loopback."""

from __future__ import annotations

import base64
import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.mlflow_server import PASSWORD, USER, Server, missing, postgres
from support.process import Done, Shell, error_lines, in_process
from support.store import import_mlflow, parent_id

from harness.commands.run import Invocation

pytestmark = [
    pytest.mark.slow,
    pytest.mark.services,
    pytest.mark.skipif(bool(missing()), reason=missing()),
]

SHORT = ("measure.repeats=2", "workload.tiles=3")
CREDENTIALS = {"MLFLOW_TRACKING_USERNAME": USER, "MLFLOW_TRACKING_PASSWORD": PASSWORD}
WRONG = "wrong-password"
SECRETS = [
    form
    for password in (PASSWORD, WRONG)
    for form in (password, base64.b64encode(f"{USER}:{password}".encode()).decode())
]
"""Passwords, also as the header of a request has them."""
PATIENT_S = "300"
"""A busy machine may answer late."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    import_mlflow()
    with postgres() as database:
        running = Server(tmp_path_factory.mktemp("server"), database)
        try:
            running.start()
            yield running
        finally:
            running.kill()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        path = tmp_path_factory.mktemp("work")
        monkeypatch.chdir(path)
        yield path


@pytest.fixture
def shell(
    folder: Path,
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> Iterator[Shell]:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", PATIENT_S)
    with in_process(monkeypatch, capfd) as run:
        on_server = ("tracking=server", f"tracking.uri={server.uri}")
        yield lambda *words: run(*words, *(() if "tracking=off" in words else on_server))


def client_of(server: Server) -> Any:
    from mlflow.tracking import MlflowClient

    return MlflowClient(server.uri)


def runs_of(server: Server, done: Done) -> list[Any]:
    """The server's runs of a command's runs, in their order."""
    client = client_of(server)
    experiment = client.get_experiment_by_name("harness")
    by_folder: dict[str, Any] = {}
    for run in client.search_runs([experiment.experiment_id]):
        if "record" in run.data.tags:
            assert run.data.tags["record"] not in by_folder, "stored twice"
            by_folder[run.data.tags["record"]] = run
    return [by_folder[str(folder.absolute())] for folder in done.folders]


def assert_no_password(done: Done) -> None:
    """Neither in what the command printed nor in any file below this folder."""
    texts = {"stdout": done.out, "stderr": done.err}
    for path in Path.cwd().rglob("*"):
        if path.is_file():
            texts[str(path)] = path.read_bytes().decode("utf-8", "replace")
    assert any(name.endswith("record.json") for name in texts)
    assert [name for name, text in texts.items() if any(each in text for each in SECRETS)] == []


def one_line(done: Done, server: Server) -> str:
    """The only line on stderr of a command that could not store its records in MLflow."""
    (line,) = error_lines(done)
    assert done.code == 1
    assert set(done.verdicts) == {"OK"}
    assert line.startswith(f"harness: tracking.uri={server.uri}: ")
    publish = f"harness publish tracking=server tracking.uri={server.uri}"
    assert f"the record is stored, but not in MLflow ({publish}" in line
    return line


def test_a_sweep_on_a_server(shell: Shell, server: Server, tmp_path: Path) -> None:
    done = shell("-m", "strategy=baseline,pipelined", *SHORT)
    assert (done.code, done.err) == (0, "")
    runs = runs_of(server, done)
    client = client_of(server)
    parent = client.get_run(parent_id(runs[0]))
    (link,) = [line for line in done.out.splitlines() if line.startswith("MLflow: ")]
    assert link.startswith(f"MLflow: {server.uri}/")
    assert parent.info.run_id in link
    assert parent.info.status == "FINISHED"
    for record, run, place in zip(done.records, runs, done.folders, strict=True):
        assert (run.info.status, parent_id(run)) == ("FINISHED", parent.info.run_id)
        known = {name: value for name, value in record["metrics"].items() if value is not None}
        assert run.data.metrics.items() >= known.items()
        assert run.data.metrics["speedup/vs_baseline"] >= 1
        assert run.info.artifact_uri.startswith("mlflow-artifacts:"), "the server has the files"
        copy = client.download_artifacts(run.info.run_id, "record.json", str(tmp_path))
        assert Path(copy).read_bytes() == (place / "record.json").read_bytes()
    # Without its folder, the record comes from the server.
    run_id = runs[0].info.run_id
    aside = done.folders[0].rename("aside")
    shown = shell("show", "--json", run_id[:12])
    aside.rename(done.folders[0])
    assert (shown.code, shown.err) == (0, "")
    (row,) = json.loads(shown.out)
    assert (row["strategy"], row["folder"]) == ("baseline", run_id)
    assert_no_password(done)


def test_records_are_published_once(shell: Shell, server: Server) -> None:
    done = shell("-m", "seed=1,2", *SHORT, "tracking=off")
    again = [shell("publish", str(done.folders[0].parent)) for _ in range(2)]
    assert [each.out for each in again] == [
        f"{server.uri}: 2 published, 0 already there\n",
        f"{server.uri}: 0 published, 2 already there\n",
    ]
    assert [run.info.status for run in runs_of(server, done)] == ["FINISHED"] * 2


def test_a_run_that_a_killed_process_left_is_completed(shell: Shell, server: Server) -> None:
    done = shell(*SHORT)
    (run,) = runs_of(server, done)
    client = client_of(server)
    client.update_run(run.info.run_id, "RUNNING")
    client.delete_tag(run.info.run_id, "harness.pid_started")
    client.set_tag(run.info.run_id, "harness.pid", "0")
    assert shell("publish", str(done.folders[0])).out.endswith("1 published, 0 already there\n")
    (again,) = runs_of(server, done)
    assert (again.info.run_id, again.info.status) == (run.info.run_id, "FINISHED")


@pytest.mark.parametrize("password", [WRONG, None], ids=["wrong", "none"])
def test_no_way_in_is_one_line(
    shell: Shell, server: Server, password: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in CREDENTIALS:
        monkeypatch.delenv(name)
    if password:
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", USER)
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", password)
    done = shell(*SHORT)
    assert (
        "the server refuses the user or the password (HTTP 401); set MLFLOW_TRACKING_USERNAME and "
        "MLFLOW_TRACKING_PASSWORD; the record is stored"
    ) in one_line(done, server)
    assert_no_password(done)
    # With all log messages and tracebacks.
    assert_no_password(shell("-v", *SHORT))


def test_a_server_that_is_slow(
    shell: Shell, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes requests and does not answer them, for as long as it is stopped."""
    server.signal(signal.SIGSTOP)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    try:
        done = shell("-m", "seed=8,9", *SHORT)
    finally:
        server.signal(signal.SIGCONT)
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", PATIENT_S)
    assert "the server does not answer (read timed out); the record" in one_line(done, server)
    published = shell("publish", str(done.folders[0].parent))
    assert published.out == f"{server.uri}: 2 published, 0 already there\n"


def test_a_server_that_dies_in_a_sweep(
    shell: Shell, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = Invocation.begin_sweep

    def then_die(*arguments: Any) -> None:
        begin(*arguments)
        server.kill()

    with monkeypatch.context() as patched:
        patched.setattr(Invocation, "begin_sweep", then_die)
        done = shell("-m", "seed=5,6,7", *SHORT)
    assert len(done.folders) == 3
    one_line(done, server)
    server.start()
    published = shell("publish", str(done.folders[0].parent))
    assert published.out == f"{server.uri}: 3 published, 0 already there\n"
    assert [run.info.status for run in runs_of(server, done)] == ["FINISHED"] * 3
