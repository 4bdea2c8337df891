"""The record commits a run: it appears after the trace, and whatever happens to the trace."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.record_samples import a_record

from harness.commands import result_store
from harness.commands.result_store import ResultStore
from harness.commands.resume import Request
from harness.commands.sweep_plan import Job, plan_of
from harness.config.compose import load

OUTCOME: Any = SimpleNamespace(timeline=object(), interrupted=True)
"""Of an interrupted run no picture is drawn."""


def store(folder: Path, monkeypatch: pytest.MonkeyPatch, trace: Callable[..., object]) -> list[str]:
    """Store a run whose trace the function writes; returns the messages."""
    lines = list[str]()
    monkeypatch.setattr(result_store, "save_trace", trace)
    results = ResultStore(folder, lines.append, lines.append)
    results.store(load("tracking=off"), a_record(), OUTCOME, folder)
    return lines


def test_the_record_follows_the_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = list[bool]()
    lines = store(
        tmp_path, monkeypatch, lambda *_: seen.append((tmp_path / "record.json").exists())
    )
    assert (seen, lines) == ([False], [])
    assert (tmp_path / "record.json").exists()


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_what_happens_to_the_trace_does_not_lose_the_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def fail(*_: object) -> None:
        raise error

    if isinstance(error, OSError):
        (line,) = store(tmp_path, monkeypatch, fail)
        assert "the trace cannot be written ([Errno 28] No space left on device)" in line
    else:
        with pytest.raises(KeyboardInterrupt):
            store(tmp_path, monkeypatch, fail)
    assert (tmp_path / "record.json").exists()


def test_without_space_for_the_record_there_is_no_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line, and a folder that counts as no run."""
    (tmp_path / "record.json").mkdir()  # a rename to it fails
    (line,) = store(tmp_path, monkeypatch, lambda *_: None)
    assert "the record cannot be written" in line
    monkeypatch.setattr(Path, "open", fail_to_open)
    (line,) = store(tmp_path, monkeypatch, lambda *_: pytest.fail("no trace without a record"))
    assert "the record cannot be written" in line


def fail_to_open(
    path: Path, *given: Any, open_file: Callable[..., Any] = Path.open, **named: Any
) -> Any:
    if "record" in path.name:
        raise OSError(28, "No space left on device")
    return open_file(path, *given, **named)


@pytest.mark.parametrize("resumes", [True, False])
def test_a_sweep_that_resumes_removes_what_kills_left(in_folder: Path, resumes: bool) -> None:
    left = in_folder / "outputs" / "killed" / "0" / "trace.json"
    left.parent.mkdir(parents=True)
    left.write_text("{}")
    config = load("tracking=off")
    job = Job(Request("key", "", []), {"kind": "off"}, resumes=resumes, repeats=False)
    plan_of(config, Path("outputs/new"), [job]).begin()
    assert left.exists() is not resumes
