"""`harness tune` searches, goes on where it stopped, and prints what it knows."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from support.pictures import Here
from support.process import Done, Shell, in_process, shared_folder
from support.store import filed, import_mlflow, open_client, parent_id

from harness.commands import tune
from harness.commands.pictures import SWITCH, of_stored
from harness.commands.stored import load_runs
from harness.execution.experiment import Experiment
from harness.report.pictures.tuned import TunedPicture
from harness.study.tune import Search
from harness.tracking.mlflow import MlflowStore
from harness.tracking.processes import PID_TAG

pytest.importorskip("optuna")
pytestmark = pytest.mark.slow

QUICK = ("measure.repeats=2", "workload=gelu", "workload.tiles=6", "workload.source=random")
UNTRACKED = ("tracking=off", *QUICK)
SMALL = ("strategy=pipelined", "depth=1,2,3", "strategy.columns=1,2")
"""A space of six settings that differ."""


def settings(done: Done) -> list[str]:
    return [record["label"] for record in done.records]


def line(done: Done, begin: str) -> str:
    (only,) = [each for each in done.out.splitlines() if each.startswith(begin)]
    return only


def test_a_search_of_the_whole_space(shell: Shell) -> None:
    done = shell("tune", *UNTRACKED, "trials=8")
    assert (done.code, done.err) == (0, "")
    assert len(done.folders) <= 2, "the bounds leave little to run"
    assert line(done, "best: ") == "best: pooled d1 b4 c2, time/tile_ms 0.049"
    assert "no setting of the space is better" in line(done, "space: ")
    assert line(done, "certainty: ").endswith("exact: passes in virtual time do not vary")
    assert done.out.startswith("strategy ")
    command = line(done, "run it: ").removeprefix("run it: harness ").split()
    again = shell(*command, "tracking=off")
    assert again.record["knobs"] == done.records[0]["knobs"]
    assert again.record["metrics"]["time/tile_ms"] == done.records[0]["metrics"]["time/tile_ms"]


def test_the_same_command_goes_on(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that dies after it stored a record, before the study has the result."""
    request = ("tune", *UNTRACKED, *SMALL, "objective=stall/total_ms", "trials=6")
    tell = Search.tell

    def die(search: Search, *arguments: object) -> None:
        if len(search.results) == 2:
            raise SystemExit(9)
        tell(search, *arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(Search, "tell", die)
        died = shell(*request)
    assert len(died.folders) == 3
    done = shell(*request)
    assert done.code == 0
    assert "goes on with 2 measured settings; resume=off begins anew" in done.err
    assert len(done.folders) == 3, "not the three that ran"
    keys = [record["run_key"] for record in (*died.records, *done.records)]
    assert len(set(keys)) == 6
    assert "measured by earlier runs: 1" in done.out
    nothing = shell(*request)
    assert (nothing.code, list(nothing.folders)) == (0, [])
    assert line(nothing, "best: ") == line(done, "best: ")
    monkeypatch.setattr("harness.commands.pictures.Drawing", Here)
    monkeypatch.setenv(SWITCH, "on")
    anew = shell(*request, "resume=off")
    assert len(anew.folders) == 6
    assert ": a folder per run, curves.png (" in line(anew, "results: ")
    picture = anew.folders[0].parent / "curves.png"
    shown = shell("show", str(picture.parent))
    assert len(shown.out.splitlines()) > 12
    again = of_stored(picture.parent, load_runs([picture.parent]))
    assert isinstance(again[0], TunedPicture), "not the curves of a sweep"
    assert (again[0].path, picture.is_file()) == (picture, True)


def test_runs_of_a_sweep_are_not_repeated(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.commands.pictures.Drawing", Here)
    shell("-m", *UNTRACKED, *SMALL)
    monkeypatch.setenv(SWITCH, "on")
    done = shell("tune", *UNTRACKED, *SMALL, "objective=stall/count")
    assert (done.code, list(done.folders)) == (0, [])
    assert "measured by earlier runs: 6" in done.out
    (picture,) = Path("outputs/tune").glob("*/curves.png")
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_failures_are_named(shell: Shell) -> None:
    done = shell("tune", *UNTRACKED, *SMALL, "trials=2", "device.faults.error=[0]")
    assert (done.code, done.verdicts) == (1, ["FAILED", "FAILED"])
    assert done.out.count("FAILED") == 4, "two rows, and the lines below the table"
    assert "best: " not in done.out
    assert "0 measured, 2 failed, 4 not tried" in line(done, "space: ")


def test_ctrl_c_ends_with_what_is_known(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Experiment.run
    begun = []

    def interrupt(self: Experiment, *arguments: object) -> object:
        begun.append(self)
        if len(begun) == 3:
            raise KeyboardInterrupt
        return run(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Experiment, "run", interrupt)
    done = shell("tune", *UNTRACKED, *SMALL, "objective=stall/total_ms")
    assert done.code == 130
    assert "interrupted" in done.err
    assert "2 measured, 4 not tried" in line(done, "space: ")
    assert line(done, "best: ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("objective=rtf/encodr", "rtf/encodr: no such metric; did you mean rtf/encoder"),
        ("objective=rtf/encoder workload=gelu", "rtf/encoder: gelu encodes no audio"),
        ("trails=3", "trails=3: unknown key; did you mean trials=3?"),
        ("objectiv=rtf", "objectiv=rtf: unknown key; did you mean objective=rtf?"),
        ("trials=0", "trials=0: not allowed; give a whole number from 1"),
        ("trials=x", "trials=x: not allowed"),
        ("seed=1,2", "seed: tune varies strategy, workload.fused, depth"),
        ("depth=0,1", "depth=0: out of range"),
        ("depth='interval(1,3)'", "give range(1,9), or values as 1,2,4"),
        ("strategy=poled,pooled", "strategy=poled: no such option"),
        ("strategy.colums=1,2", "strategy.colums: tune varies"),
        ("hydra/launcher=joblib depth=1,2", "hydra/launcher: tune runs one setting after another"),
        ("phase=dma strategy.columns=2,3", "phase=dma allows"),
    ],
)
def test_wrong_requests(shell: Shell, arguments: str, message: str) -> None:
    done = shell("tune", "tracking=off", *arguments.replace("'", "").split())
    assert done.code == 2
    assert message in done.err
    assert len(done.err.splitlines()) == 1
    assert not Path("outputs").exists()


def test_presets_keep_their_knobs(shell: Shell) -> None:
    done = shell(
        "tune", *UNTRACKED, "strategy=baseline,batch,pipelined", "depth=range(1,4)", "trials=9"
    )
    assert done.code == 0
    assert "space: 5 settings" in line(done, "space: "), "baseline, batch, and three depths"
    assert line(done, "run it: ").count("strategy.") == 0


def test_trials_have_one_parent_also_after_an_interruption(
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    import_mlflow()
    request = ("tune", *QUICK, *SMALL, "objective=stall/total_ms")
    with shared_folder(tmp_path_factory, "tracked"), in_process(monkeypatch, capfd) as shell:
        first = shell(*request, "trials=2")
        (parent,) = (run for run in filed() if not parent_id(run))
        open_client(Path("outputs/mlflow.db")).set_tag(parent.info.run_id, PID_TAG, "of then")
        states = list[tuple[str, str]]()

        def status(store: MlflowStore, *arguments: Any) -> None:
            (run,) = (each for each in filed() if each.info.run_id == arguments[0])
            states.append((run.info.status, run.data.tags[PID_TAG]))
            end(store, *arguments)

        end = MlflowStore.end_sweep
        monkeypatch.setattr(MlflowStore, "end_sweep", status)
        more = shell(*request, "trials=3")
        assert (first.code, more.code) == (0, 0), (first.err, more.err)
        runs = filed()
        parents = [run for run in runs if "sweep" in run.data.tags and not parent_id(run)]
        children = [run for run in runs if parent_id(run)]
        assert len(parents) == 1
        assert {parent_id(run) for run in children} == {parents[0].info.run_id}
        assert len(children) == 3
        assert states == [("RUNNING", str(os.getpid()))], "while the second command runs"
        assert parents[0].info.status == "FINISHED"
        assert f"parentRunId=%22{parents[0].info.run_id}%22" in more.out
        assert "ms/tile" in parents[0].data.tags["mlflow.note.content"]


def test_the_journal_names_the_runs(shell: Shell) -> None:
    done = shell("tune", *UNTRACKED, *SMALL, "objective=stall/total_ms", "trials=2")
    folder = done.folders[0].parent
    entries = [json.loads(each) for each in (folder / "optuna.journal").read_text().splitlines()]
    assert [entry["user_attr"]["run"] for entry in entries if "run" in entry.get("user_attr", {})]
    assert tune.DEFAULTS["trials"] == "50"
