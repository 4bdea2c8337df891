"""The harness command for tests: in this process, or in one that they wait for by its state."""

from __future__ import annotations

import json
import logging
import math
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from harness.commands.main import dispatch
from support import mlflow_schema
from support.fork_server import POLL_S, Forked, environment

TESTS = Path(__file__).parent.parent
ROOT = TESTS.parent
LIMIT_S = 300
"""Only a process that hangs reaches it; no test depends on how long anything takes."""
INTERRUPTED = (
    "harness: interrupted; runs in flight end, then the record is stored; "
    "another Ctrl-C stops waiting"
)
"""The line that a Ctrl-C in a run prints at once, with tracking=off."""


@dataclass(frozen=True)
class Done:
    """A command that has ended, and the folders of its runs in the order of their names."""

    code: int
    out: str
    err: str
    folders: Sequence[Path] = ()

    @property
    def records(self) -> list[dict[str, Any]]:
        return [json.loads((folder / "record.json").read_text()) for folder in self.folders]

    @property
    def record(self) -> dict[str, Any]:
        (only,) = self.records
        return only

    @property
    def trace(self) -> dict[str, Any]:
        (folder,) = self.folders
        return json.loads((folder / "trace.json").read_text())

    @property
    def verdicts(self) -> list[str]:
        return [record["verdict"] for record in self.records]


Shell = Callable[..., Done]
Process = subprocess.Popen[str] | Forked


@contextmanager
def shared_folder(factory: pytest.TempPathFactory, name: str) -> Iterator[Path]:
    """Work in a folder that the tests of a file share: a new store takes seconds."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        path = factory.mktemp(name)
        monkeypatch.chdir(path)
        yield path


def run_folders() -> set[Path]:
    """Folders of all runs below this folder that have a record."""
    found = Path("outputs").rglob("record.json")
    return {path.parent for path in found if path.parts[1] != "artifacts"}


@contextmanager
def in_process(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str] | None = None
) -> Iterator[Shell]:
    """The command in this process; call it with its arguments."""
    mlflow_schema.install()
    # The command sets these; monkeypatch restores them afterwards.
    monkeypatch.setattr(logging, "raiseExceptions", True)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    # On a loaded machine a sweep may take long enough for lines about its progress.
    monkeypatch.setattr("harness.commands.pass_progress.LINE_S", math.inf)

    def run(*arguments: str) -> Done:
        before = run_folders()
        if capfd:
            capfd.readouterr()
        code = dispatch(arguments)
        out, err = capfd.readouterr() if capfd else ("", "")
        return Done(code, out, err, sorted(run_folders() - before))

    yield run
    close_log_handlers()


def close_log_handlers() -> None:
    """Take from the root logger what a run has added: its file may be gone in the next test."""
    # Not pytest's own handlers.
    for handler in [each for each in logging.root.handlers if type(each).__module__ == "logging"]:
        logging.root.removeHandler(handler)
        handler.close()


def program(setup: str) -> list[str]:
    """Python's arguments to run `setup`'s statements, then the command, with tests/ on the path."""
    return ["-c", f"{setup}\nimport runpy; runpy.run_module('harness', run_name='__main__')"]


def start(*arguments: str, setup: str = "", forked: bool = False, **options: Any) -> Process:
    """Start the command as a process in this folder; it runs the statements `setup` first.

    It is a fork unless there are statements, which may replace what imports bind, or `options` for
    Popen. forked: although there are statements, as they replace methods of classes only.
    """
    env = {**environment(), "TMPDIR": str(Path.cwd())}
    if forked or (not setup and not options):
        return Forked(setup, arguments, env)
    command = [sys.executable, *(program(setup) if setup else ["-m", "harness"]), *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=env, **options)


def end(process: Process) -> Done:
    """Wait for the end of a process."""
    try:
        out, err = process.communicate(timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    return Done(process.returncode, out, err, sorted(run_folders()))


def process(*arguments: str, **options: Any) -> Done:
    """Run the command as a process of its own to its end."""
    return end(start(*arguments, **options))


def wait_for(state: Callable[[], Any], process: Process | None = None) -> None:
    """Wait until `state()` is true; fail when `process` ends before, or at the limit."""
    until_s = time.monotonic() + LIMIT_S
    while not state():
        if process and process.poll() is not None and not state():
            pytest.fail(
                f"the process ended with code {process.returncode} before that: "
                f"{process.communicate()}"
            )
        if time.monotonic() > until_s:
            pytest.fail(f"not reached in {LIMIT_S} s")
        time.sleep(POLL_S)


def marking(function: str, path: Path | str, number: int = 1) -> str:
    """Statements for `setup`: create `path` when call `number` of `function` begins.

    The function is named module:attribute.
    """
    return f"from support.marks import mark; mark({function!r}, {str(path)!r}, {number})"


def signal_pending(process: Process, number: int) -> bool:
    """Whether a signal was sent to a process and has not been delivered to it yet."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    pending = [
        int(line.split()[1], 16)
        for line in status.splitlines()
        if line.startswith(("SigPnd", "ShdPnd"))
    ]
    return any(mask >> (number - 1) & 1 for mask in pending)


def send(process: Process, number: int) -> None:
    """Send a signal and wait until the process has received it."""
    process.send_signal(number)
    wait_for(lambda: process.poll() is not None or not signal_pending(process, number))


def spans(trace: dict[str, Any], *stages: str) -> list[dict[str, Any]]:
    return [
        event for event in trace["traceEvents"] if event["ph"] == "X" and event["cat"] in stages
    ]


ROW = re.compile(r"(?:\* |  )?\S+ +((?:pooled|per_tile) d\d+ b\d+ c\d+ .* [A-Z]+)$")
"""A row of the table of runs: mark, strategy, label, figures, verdict."""


def rows(out: str) -> list[str]:
    """Lines of the table that are of runs, from the label on."""
    return [match[1] for line in out.splitlines() if (match := ROW.match(line))]


def error_lines(done: Done) -> list[str]:
    """Lines on stderr, every one of them the harness's own."""
    lines = done.err.splitlines()
    assert all(line.startswith("harness: ") for line in lines), done.err
    return lines
