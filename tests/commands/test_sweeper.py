"""Sweeps run a job once, however often it is asked for under a depth that its strategy ignores."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.process import Shell, in_process

pytestmark = pytest.mark.slow


@pytest.fixture
def shell(
    in_folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Shell]:
    with in_process(monkeypatch, capfd) as run:
        yield run


def test_jobs_that_differ_in_an_ignored_depth_only_run_once(shell: Shell) -> None:
    done = shell(
        *("-m", "tracking=off", "measure.repeats=1", "workload.tiles=2,3"),
        *("strategy=pipelined,batch", "depth=1,2"),
    )
    assert done.code == 0
    labels = [record["label"] for record in done.records]
    assert (
        sorted(labels)
        == ["pooled d1 b1 c1"] * 2 + ["pooled d1 b4 c1"] * 2 + ["pooled d2 b1 c1"] * 2
    )
    assert done.err.count("2 of 8 jobs are not run: each repeats another, or differs") == 1
    assert done.err.count("strategy=batch does not use depth=1: its own depth is 1; ") == 1


def test_of_equal_jobs_the_first_runs(shell: Shell) -> None:
    quick = ("tracking=off", "measure.repeats=1", "measure.warmup=0", "workload.tiles=2")
    done = shell("-m", *quick, "strategy=pipelined", "depth=1,2,2")
    assert [record["label"] for record in done.records] == ["pooled d1 b1 c1", "pooled d2 b1 c1"]
    assert "1 of 3 jobs are not run" in done.err
    done = shell("-m", *quick, "seed=0,0")
    assert len(done.records) == 1
