"""Sweeps run a job once: not again for an ignored depth, nor if an earlier run has its results."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.process import Done, Shell, rows
from support.store import import_mlflow

from harness.commands.resume import RESUMED_FILE
from harness.results import run_key

pytestmark = pytest.mark.slow

QUICK = ("-m", "tracking=off", "measure.repeats=1", "measure.warmup=0", "workload.tiles=2")
SKIPPED = "{} of {} jobs are skipped, because their results are stored in {} (OK, "


def labels(done: Done) -> list[str]:
    return [record["label"] for record in done.records]


def test_jobs_that_differ_in_an_ignored_depth_only_run_once(shell: Shell) -> None:
    done = shell(
        *("-m", "tracking=off", "measure.repeats=1", "workload.tiles=2,3"),
        *("strategy=pipelined,batch", "depth=2,3"),
    )
    assert done.code == 0
    assert (
        sorted(labels(done))
        == ["pooled d1 b4 c1"] * 2 + ["pooled d2 b1 c1"] * 2 + ["pooled d3 b1 c1"] * 2
    )
    skipped = (
        "2 of 8 jobs are skipped as repetitions: 2 with another depth, which the strategy ignores"
    )
    assert done.err.count(skipped) == 1
    assert done.err.count("strategy=batch does not use depth=2: its own depth is 1; ") == 1


def test_of_equal_jobs_the_first_runs(shell: Shell) -> None:
    done = shell(*QUICK, "strategy=pipelined", "depth=1,2,2")
    assert "1 of 3 jobs are skipped as repetitions: 1 with equal overrides\n" in done.err
    assert labels(done) == ["pooled d1 b1 c1", "pooled d2 b1 c1"]
    assert "1 of 3 jobs are skipped" in done.err
    assert shell("-q", *QUICK, "seed=2,2").err == "", "errors only"
    done = shell(*QUICK, "seed=0,0")
    assert not done.folders, "the sweep above has this job"
    done = shell(*QUICK, "seed=1,1")
    assert len(done.records) == 1


def test_a_single_run_is_named_by_its_own_folder(shell: Shell) -> None:
    (run,) = shell(*QUICK[1:], "strategy=pooled").folders
    done = shell(*QUICK, "strategy=pooled,batch")
    assert SKIPPED.format(1, 2, run) in done.err


def test_a_sweep_runs_what_has_not_run(shell: Shell) -> None:
    first = shell(*QUICK, "strategy=baseline,batch")
    sweep = first.folders[0].parent
    more = shell(*QUICK, "strategy=baseline,pooled,batch")
    assert labels(more) == ["pooled d1 b1 c1"]
    assert SKIPPED.format(2, 3, sweep) in more.err
    assert "resume=off runs all" in more.err
    names = [line.split()[0] for line in more.out.replace("* ", "  ").splitlines()[1:4]]
    assert names == ["baseline", "pooled", "batch"], "all rows, in the order of the jobs"
    assert rows(shell("show", str(more.folders[0].parent)).out) == rows(more.out)
    nothing = shell(*QUICK, "strategy=baseline,pooled,batch")
    assert (nothing.code, list(nothing.folders)) == (0, [])
    assert rows(nothing.out) == rows(more.out)
    both = f"{sweep}, {more.folders[0].parent}"
    again = f"(harness show {both.replace(', ', ' ')} prints the table again)"
    assert nothing.out.splitlines()[-1] == f"results: {both} {again}"
    everything = shell(*QUICK, "strategy=baseline,pooled", "resume=off")
    assert labels(everything) == ["per_tile d1 b1 c1", "pooled d1 b1 c1"]
    assert "are skipped" not in everything.err


def test_a_job_that_was_not_right_runs_again(shell: Shell) -> None:
    faulty = (*QUICK, "device.faults.error=[0],[]")
    done = shell(*faulty)
    assert (done.code, done.verdicts) == (1, ["FAILED", "OK"])
    again = shell(*faulty)
    assert (again.code, again.verdicts) == (1, ["FAILED"])
    assert "1 of 2 jobs are skipped" in again.err
    assert "1 are run again: 1 FAILED" in again.err
    assert again.out.count("FAILED") == 2, "the row, and the line below the table"


def test_changed_code_runs_again(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(shell(*QUICK, "seed=1").records) == 1
    monkeypatch.setattr(run_key, "code_hash", lambda: "another")
    assert len(shell(*QUICK, "seed=1").records) == 1
    assert len(shell(*QUICK, "seed=1").records) == 0


def test_a_sweep_goes_on_in_its_own_folder(shell: Shell) -> None:
    mine = (*QUICK, "hydra.sweep.dir=mine")
    shell(*mine, "seed=1,2")
    done = shell(*mine, "seed=1,2,3")
    assert done.code == 0, done.err
    assert SKIPPED.format(2, 3, "mine") in done.err
    assert sorted(path.parent.name for path in Path("mine").glob("*/record.json")) == list("012")
    assert len(json.loads(Path("mine", RESUMED_FILE).read_text())["runs"]) == 2


def test_a_row_has_the_words_of_the_sweep_that_shows_it(shell: Shell) -> None:
    own = Path("mine/strategy")
    own.mkdir(parents=True)
    (own / "my_pool.yaml").write_text("buffers: pooled\ndepth: 1\n")
    shell(*QUICK, "strategy=pooled")
    done = shell(*QUICK, "--config-dir", "mine", "strategy=my_pool,baseline", "seed=0,1")
    assert SKIPPED.partition(" in ")[0].format(1, 4) in done.err
    header, first, *_ = (line.lstrip("* ").split() for line in done.out.splitlines())
    assert (first[0], first[header.index("seed") + 3]) == ("my_pool", "0")


def test_equal_jobs_keep_their_names(shell: Shell) -> None:
    """pooled and pipelined at depth 1 are the same configuration, and both run."""
    jobs = (*QUICK, "strategy=pooled,pipelined", "depth=1,2", "seed=7")
    first, again = shell(*jobs), shell(*jobs)
    assert (len(first.folders), len(again.folders)) == (3, 0)
    for done in (first, again, shell("show", str(first.folders[0].parent))):
        names = [line.lstrip("* ").split()[0] for line in done.out.splitlines()[1:4]]
        assert names == ["pooled", "pipelined", "pipelined"], done.out


def test_an_untracked_run_does_not_stand_for_a_tracked_one(shell: Shell) -> None:
    import_mlflow()
    quick = [text for text in QUICK if text != "tracking=off"]
    links = []
    for arguments, ran in ((QUICK, 1), (quick, 1), (quick, 0), (QUICK, 0)):
        done = shell(*arguments, "seed=1")
        assert (done.code, len(done.folders)) == (0, ran), done.err
        links.append(done.out.splitlines()[-1])
    assert links[1].startswith("MLflow: harness ui, then http://")
    assert links[2] == links[1], "the page of the sweep that has the results"
