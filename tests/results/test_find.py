"""What is removed of runs that were killed while they were stored."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest

from harness.results.find import record_files, remove_leftovers, storing

WHOLE = ("record.json", "trace.json")
KILLED = ("trace.json", ".record.json.17", "harness.log", ".hydra/config.yaml")
"""Files of a run that was killed between its trace and its record."""
LEFT = [".hydra/config.yaml", "harness.log"]


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    runs = {"a/0": WHOLE, "a/1": KILLED, "b": (*WHOLE, ".trace.json.18"), "artifacts": KILLED[:1]}
    for run, names in runs.items():
        for name in names:
            path = tmp_path / run / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("{}")
    return tmp_path


def files(folder: Path) -> list[str]:
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return sorted(str(path.relative_to(folder)) for path in paths)


def test_leftovers_are_removed_and_results_are_not(outputs: Path) -> None:
    remove_leftovers(outputs)
    assert files(outputs / "a/1") == LEFT, "the log and the configuration show what was killed"
    assert files(outputs / "a/0") == files(outputs / "b") == sorted(WHOLE)
    assert files(outputs / "artifacts") == ["trace.json"], "a copy that a store is writing"
    assert {path.parent.name for path in record_files(outputs)} == {"0", "b"}


def test_a_run_that_is_being_stored_keeps_its_files(outputs: Path) -> None:
    with storing(outputs / "a/1"):
        remove_leftovers(outputs)
    assert files(outputs / "a/1") == sorted(KILLED)


def test_without_locks_nothing_is_removed(outputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No process can tell whether another one is alive."""

    def refuse(*_: object) -> None:
        raise OSError("no locks")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with storing(outputs / "a/1", wait=False) as free:
        assert free
    remove_leftovers(outputs)
    assert files(outputs / "a/1") == sorted(KILLED)


def test_a_record_that_appears_meanwhile_keeps_its_trace(
    outputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = fcntl.flock

    def store_first(descriptor: int, operation: int) -> None:
        (outputs / "a/1/.record.json.17").rename(outputs / "a/1/record.json")
        lock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", store_first)
    (outputs / "b/.trace.json.18").unlink()
    remove_leftovers(outputs)
    assert files(outputs / "a/1") == sorted([*LEFT, *WHOLE])
