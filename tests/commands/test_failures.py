"""What is left after a failed write, a dead tracking server, or a signal that ends the process."""

from __future__ import annotations

import json
import os
import resource
import signal
import socketserver
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from select import select

import pytest
from support.process import (
    INTERRUPTED,
    Done,
    Process,
    end,
    error_lines,
    marking,
    process,
    rows,
    run_folders,
    send,
    start,
    wait_for,
)
from support.store import filed, parent_id

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("in_folder")]

LONG = ("workload.tiles=20000", "measure.repeats=10000")
"""Hours of work: whatever the load of the machine, a signal comes before its end."""
PASS = "harness.execution.executor:Executor.run"
"""Called once a pass."""
OPEN_STORE = "harness.commands.result_store:backend_of"
"""Called before MLflow is imported to store a record."""
NOWHERE = "http://127.0.0.1:9"


def job_begun(name: str = "") -> Callable[[], bool]:
    """Whether a run (of a sweep: the one so numbered) has been begun."""
    return lambda: any(Path("outputs").glob(f"*/*/{name}/.hydra/overrides.yaml"))


def whole(folder: Path) -> list[str]:
    """Names of the records and traces below a folder, temporary ones too; each must be whole."""
    paths = [*folder.rglob("*record.json*"), *folder.rglob("*trace.json*")]
    for path in paths:
        json.loads(path.read_text())
    return sorted(path.name for path in paths)


# Outputs that cannot be written


@pytest.mark.parametrize("flags", [[], ["-m", "depth=1,2"]], ids=["run", "sweep"])
def test_outputs_is_a_file(flags: list[str]) -> None:
    Path("outputs").write_text("mine")
    done = process(*flags, "tracking=off")
    assert done.code == 0, "the record is stored, in another folder"
    assert [row.split()[-1] for row in rows(done.out)] == ["OK"] * max(1, len(flags))
    (line,) = error_lines(done)
    (kept,) = [folder for folder in Path.cwd().iterdir() if folder.is_dir()]
    assert line.endswith(f"they go to {kept}")
    if flags:
        assert f"(harness show {kept.name} prints the table again)" in done.out
        shown = process("show", kept.name)
        assert (shown.code, shown.err) == (0, "")
        assert shown.out == done.out.partition("results: ")[0]
    assert whole(kept) == ["record.json"] * max(1, len(flags)) + ["trace.json"] * max(1, len(flags))
    assert Path("outputs").read_text() == "mine"


def test_a_wrong_request_is_wrong_wherever_outputs_go() -> None:
    Path("outputs").write_text("mine")
    done = process("depth=0")
    assert (done.code, done.out) == (2, "")
    assert "depth=0" in error_lines(done)[-1]


@pytest.mark.parametrize("flags", [[], ["-m"]], ids=["run", "sweep"])
@pytest.mark.parametrize("limit_bytes", [0, 2 << 10, 16 << 10, 40 << 10])
def test_a_full_disk(limit_bytes: int, flags: list[str]) -> None:
    """No file may grow past the limit: a trace of 100 tiles, the last to be written, has 120 kB."""

    def fill() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))

    done = end(
        start(*flags, "tracking=off", "strategy=pooled", "workload.tiles=100", preexec_fn=fill)
    )
    assert done.code == 1
    assert "File too large" in error_lines(done)[-1]
    if (
        flags and limit_bytes < 16 << 10
    ):  # not even the folder of the sweep can be made: nothing is run, nothing lost
        assert (done.out, done.folders) == ("", [])
        return
    (row,) = rows(done.out)
    assert row.split()[-1] == "OK", "the measurement is done and right"
    assert set(whole(Path.cwd())) <= {"record.json"}
    if not done.folders:
        assert "results: " not in done.out, "no folder, and no hint to show it"
    assert bool(done.folders) is (limit_bytes >= 16 << 10), "a record of 7 kB is kept where it fits"


# A tracking server that does not answer


class Hangup(socketserver.BaseRequestHandler):
    """Takes calls and hangs up without an answer."""

    calls = 0

    def handle(self) -> None:
        type(self).calls += 1


class Silence(Hangup):
    """Takes calls, and waits until the caller hangs up."""

    calls = 0

    def handle(self) -> None:
        super().handle()
        while self.request.recv(4096):
            pass


@pytest.mark.parametrize("flags", [[], ["-m", "depth=1,2"]], ids=["run", "sweep"])
def test_a_dead_server(flags: list[str]) -> None:
    setup = (
        "from support.marks import count_calls; count_calls('socket:socket.connect', 'connections')"
    )
    server = ("tracking=server", f"tracking.uri={NOWHERE}")
    done = process(*flags, *server, setup=setup, forked=True)
    assert len(Path("connections").read_text().splitlines()) == 1, (
        "asked once, without a second attempt"
    )
    assert done.code == 1
    assert done.verdicts == ["OK"] * max(1, len(flags))
    assert len(rows(done.out)) == len(done.folders)
    (line,) = error_lines(done)
    assert f"tracking.uri={NOWHERE}: the server does not answer (connection refused)" in line
    assert "the record is stored" in line


@pytest.mark.parametrize("handler", [Hangup, Silence])
def test_a_sweep_asks_a_dead_server_once(
    handler: type[Hangup], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    with socketserver.TCPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        uri = f"http://127.0.0.1:{server.server_address[1]}"
        done = process("-m", "depth=1,2,3", "tracking=server", f"tracking.uri={uri}")
        server.shutdown()
    assert (done.code, done.verdicts) == (1, ["OK"] * 3)
    (line,) = error_lines(done)
    assert "the record is stored, but not in MLflow" in line
    assert handler.calls <= 2, "a server that lets every request wait would hold up each run"


def test_a_store_that_cannot_be_made() -> None:
    done = process("tracking.uri=sqlite:////proc/nowhere/mlflow.db")
    assert (done.code, done.verdicts) == (1, ["OK"])
    (line,) = error_lines(done)
    assert "/proc/nowhere" in line


@pytest.fixture
def mounted() -> Iterator[Callable[..., None]]:
    """Mounts file systems of any size on outputs/; skips where that is not allowed."""

    def mount(*arguments: str) -> None:
        command = ["mount", *arguments, "outputs"]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"file systems cannot be mounted here: {done.stderr.strip()}")

    Path("outputs").mkdir()
    yield mount
    while not subprocess.run(["umount", "outputs"], check=False, capture_output=True).returncode:
        pass


def test_a_disk_too_small_for_the_store(mounted: Callable[..., None]) -> None:
    mounted("-t", "tmpfs", "-o", "size=400k", "tmpfs")
    done = process("workload.tiles=3")
    assert (done.code, done.verdicts) == (1, ["OK"])
    (line,) = error_lines(done)
    assert "disk" in line
    assert "the record is stored, but not in MLflow (harness publish stores it there" in line
    assert {path.name for path in Path("outputs").glob("*mlflow*")} <= {"mlflow.db.lock"}
    mounted("-o", "remount,size=40m")
    assert process("publish").out.endswith("1 published, 0 already there\n")


def test_outputs_that_become_read_only(mounted: Callable[..., None]) -> None:
    root = not os.getuid()
    if root:  # modes do not stop root
        mounted("-t", "tmpfs", "tmpfs")
    assert process("workload.tiles=3").code == 0
    if root:
        mounted("-o", "remount,ro")
    else:
        Path("outputs").chmod(0o555)
    done = process("workload.tiles=3")
    assert done.code == 1
    assert len(rows(done.out)) == 1
    (line,) = error_lines(done)
    assert "the folder of the results cannot be created" in line
    (place,) = Path.cwd().glob("harness-*")
    assert f"the record is stored, but not in MLflow (harness publish {place.name} stores" in line
    sweep = process("-m", "depth=1,2", "workload.tiles=4")
    assert (sweep.code, len(rows(sweep.out)), len(error_lines(sweep))) == (1, 2, 1)


# Ctrl-C


@pytest.mark.parametrize(
    ("function", "recorded"),
    [
        ("harness.commands.run:Invocation.job", False),
        ("harness.execution.prepare:prepare", False),
        (PASS, True),
    ],
    ids=["configuration", "preparation", "a pass"],
)
def test_ctrl_c_in_a_run(function: str, recorded: bool) -> None:
    is_method = "." in function.partition(":")[2]
    running = start("tracking=off", *LONG, setup=marking(function, "reached"), forked=is_method)
    wait_for(Path("reached").exists, running)
    running.send_signal(signal.SIGINT)
    done = end(running)
    assert done.code == 130
    assert error_lines(done) == [INTERRUPTED if done.records else "harness: interrupted"]
    assert set(whole(Path.cwd())) <= {"record.json"}
    for record in done.records:
        assert (record["verdict"], record["reason"]) == ("FAILED", "interrupted")
        assert record["metrics"]["time/total_ms"] is None
        assert not record["samples"]["total_ns"], "cut short before the first timed pass"
    assert len(done.records) >= recorded


def interrupted_sweep(*arguments: str) -> Done:
    """A sweep of two short runs and two long ones; Ctrl-C ends it as it verifies the third."""
    short, repeats = ("workload.tiles=10,11,20000,20001", 3)
    passes_before = 2 * (1 + 1 + repeats)
    setup = marking(PASS, "third", passes_before + 1)
    jobs = ("-m", short, f"measure.repeats={repeats}")
    running = start(*jobs, *arguments, setup=setup, forked=True)
    wait_for(Path("third").exists, running)
    assert job_begun("2")()
    running.send_signal(signal.SIGINT)
    done = end(running)
    assert done.code == 130
    # A sweep that takes longer than 10 s reports its progress.
    line, left = [each for each in error_lines(done) if not each.startswith("harness: job ")]
    assert left == "harness: 2 of 4 jobs are left; the same command runs them"
    if "tracking=off" in arguments:
        assert line == INTERRUPTED
    else:
        assert line == INTERRUPTED.replace(
            "record is stored", "record is stored, then its MLflow run"
        )
    assert not job_begun("3")()
    return done


def test_ctrl_c_in_a_sweep() -> None:
    done = interrupted_sweep("tracking=off")
    assert done.verdicts == ["OK", "OK", "FAILED"], "finished runs are kept, and no other is begun"
    assert whole(done.folders[0].parent) == ["record.json"] * 3 + ["trace.json"] * 2
    assert [row.split()[-1] for row in rows(done.out)] == ["OK", "OK", "FAILED"]


def start_and_hold_store(until: str) -> Process:
    """A run in its first pass, which will not open its store before the file `until` exists."""
    hold = f"from support.marks import wait_in; wait_in({OPEN_STORE!r}, {until!r})"
    running = start(*LONG, setup=f"{marking(PASS, 'reached')}; {hold}")
    wait_for(Path("reached").exists, running)
    return running


def test_ctrl_c_says_at_once_what_it_waits_for() -> None:
    """MLflow takes seconds to be imported: the line is there before the store is opened."""
    running = start_and_hold_store("go")
    running.send_signal(signal.SIGINT)
    stderr = running.stderr
    assert stderr
    wait_for(lambda: select([stderr], [], [], 0)[0], running)
    assert stderr.readline() == (
        "harness: interrupted; runs in flight end, then the record is stored, then its MLflow run "
        "(importing mlflow takes seconds); another Ctrl-C stops waiting\n"
    )
    assert not Path("outputs/mlflow.db").exists()
    Path("go").touch()
    done = end(running)
    assert (done.code, done.err) == (130, "")
    assert done.record["reason"] == "interrupted"
    assert [run.info.status for run in filed()] == ["FAILED"]


def test_a_second_ctrl_c_leaves_mlflow_out_and_keeps_the_record() -> None:
    running = start_and_hold_store("never")
    send(running, signal.SIGINT)
    wait_for(lambda: len(run_folders()) == 1, running)
    running.send_signal(signal.SIGINT)
    done = end(running)
    assert done.code == 130
    assert len(error_lines(done)) == 1
    assert f"results: {done.folders[0]}: record.json" in done.out
    assert not Path("outputs/mlflow.db").exists()


def test_ctrl_c_twice() -> None:
    running = start("-m", "tracking=off", "workload.tiles=10,20000")
    wait_for(job_begun("0"), running)
    wait_for(lambda: len(run_folders()) == 1, running)
    for _ in range(2):
        send(running, signal.SIGINT)
    done = end(running)
    assert done.code in (130, -signal.SIGINT)
    assert done.verdicts[0] == "OK"
    whole(Path("outputs"))


# kill -9


def kill(running: Process) -> Done:
    running.kill()
    done = end(running)
    assert done.code == -signal.SIGKILL
    return done


def test_killed_in_a_sweep() -> None:
    running = start("-m", "tracking=off", "workload.tiles=300,301,20000")
    wait_for(lambda: len(run_folders()) >= 2, running)
    done = kill(running)
    assert set(done.verdicts) == {"OK"}
    assert len(done.verdicts) == 2
    for path in Path("outputs").rglob("trace.json"):
        json.loads(path.read_text())


def test_the_store_after_a_killed_and_an_interrupted_sweep() -> None:
    running = start("-m", "workload.tiles=10,20000,20001")
    wait_for(job_begun("1"), running)
    assert kill(running).verdicts == ["OK"]
    assert [run.info.status for run in filed() if not parent_id(run)] == ["RUNNING"]
    interrupted_sweep()
    sweeps, jobs = (
        [run.info.status for run in filed() if bool(parent_id(run)) is child]
        for child in (False, True)
    )
    assert sweeps == ["KILLED", "FAILED"], "the next sweep buries the dead one"
    assert jobs == ["FINISHED", "FINISHED", "FINISHED", "FAILED"]
