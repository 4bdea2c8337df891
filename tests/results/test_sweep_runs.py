"""A sweep keeps in memory only the records that it cannot read again."""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace
from pathlib import Path

from support.record_samples import a_record

from harness.execution.outcome import Verdict
from harness.results.record import FILE_NAME, Record
from harness.results.sweep_runs import SweepRuns


def test_stored_records_leave_memory_and_are_read_again(tmp_path: Path) -> None:
    problems: list[str] = []
    runs, folders = SweepRuns(problems.append), [tmp_path / str(number) for number in range(4)]
    records = [replace(a_record(), name=folder.name) for folder in folders]
    left = [weakref.ref(record) for record in records]
    expected = [(replace(record), folder) for record, folder in zip(records, folders, strict=True)]
    for record, folder in zip(records, folders, strict=True):
        runs.append((record, folder))
        assert runs.last == (record, folder)
        if folder.name != "1":  # as on a full disk
            folder.mkdir()
            record.save(folder)
    del record, records
    gc.collect()
    assert [each() is None for each in left] == [True, False, True, False]
    assert (len(runs), [*runs], problems) == (4, expected, [])
    (folders[0] / FILE_NAME).unlink()
    assert [*runs] == expected[1:]
    assert problems == [f"{folders[0] / FILE_NAME}: cannot be read (No such file or directory)"]


def test_right_runs_are_counted_without_their_records(tmp_path: Path) -> None:
    runs = SweepRuns(print)
    assert (len(runs), runs.right, runs.last) == (0, 0, None)
    for verdict in (Verdict.OK, Verdict.FAILED, Verdict.OK):
        runs.append((replace(a_record(), verdict=verdict), tmp_path))
    assert (len(runs), runs.right) == (3, 2)


def test_runs_of_other_folders_share_the_parts(tmp_path: Path) -> None:
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
        a_record().save(folder)
    (first, _), (second, _) = SweepRuns(print).read(folders)
    assert first == Record.load(folders[0])
    assert first.environment is second.environment
