"""Live comparisons and noise floors: turns, noise, order, exit codes, and what a Ctrl-C leaves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.pictures import Here
from support.process import Done, Shell, in_process, shared_folder
from support.store import filed, import_mlflow, parent_id

from harness.commands.pictures import SWITCH
from harness.execution.experiment import Experiment
from harness.study.pair_plan import orders
from harness.tracking.mlflow import MlflowStore
from harness.tracking.store import TrackingError

SMALL = ("tracking=off", "workload.tiles=1", "workload.source=random", "verify=off")
NOISY = (*SMALL, "strategy=pooled", "measure.repeats=9", "device.noise.enabled=true", "seed=3")
FLOORS = Path("outputs/noise-floor")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with shared_folder(tmp_path_factory, "compare") as path:
        yield path


@pytest.fixture
def shared(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Shell]:
    """The command, in a folder that keeps what earlier tests stored."""
    with in_process(monkeypatch, capfd) as run:
        yield run


def interrupted_after(runs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the run after so many be interrupted by Ctrl-C."""
    run, begun = Experiment.run, []

    def interrupt(self: Experiment, *arguments: Any) -> Any:
        begun.append(self)
        if len(begun) > runs:
            raise KeyboardInterrupt
        return run(self, *arguments)

    monkeypatch.setattr(Experiment, "run", interrupt)


def rows(done: Done) -> list[dict[str, Any]]:
    return json.loads(done.out)


@pytest.mark.slow
def test_pairs_of_equal_runs_with_noise(shared: Shell) -> None:
    done = shared("compare", "--json", *NOISY, "depth=1,1", "pairs=6")
    assert (done.code, len(done.folders)) == (0, 12)
    (row,) = rows(done)
    assert (row["pairs"], row["exact"], row["noise_floor"]) == (6, False, None)
    assert row["low"] < row["ratio"] < row["high"]
    configs = [record["config"] for record in done.records]
    assert len({each["device"]["noise"]["seed"] for each in configs}) == 12
    plan = json.loads((done.folders[0].parent / "pairs.json").read_text())
    turns = [list(map(int, each)) for each in plan["rounds"]]
    assert turns == orders(2, 6, seed=3)
    assert len({tuple(each) for each in turns}) == 2, "both orders occur"
    again = shared("compare", "--json", "--sweep", str(done.folders[0].parent))
    assert (again.code, again.out) == (0, done.out)


@pytest.mark.slow
def test_a_noise_floor_is_measured_and_used(shared: Shell) -> None:
    done = shared("noise-floor", *NOISY, "pairs=5")
    assert (done.code, len(done.folders)) == (0, 10)
    (path,) = FLOORS.glob("*.json")
    share = json.loads(path.read_text())["share"]
    assert 0 < share < 1
    assert f"noise floor: {100 * share:.3g} %, stored in {path}" in done.out
    later = shared("compare", "--json", *NOISY, "depth=1,1", "pairs=5")
    assert rows(later)[0]["noise_floor"] == share
    folder = str(later.folders[0].parent)
    again = shared("compare", "--sweep", folder)
    assert f"noise floor: {100 * share:.3g} % by 5 pairs of equal runs" in again.out
    path.write_text(path.read_text().replace('"host": "', '"host": "not-'))
    other = shared("compare", "--sweep", folder, "--json")
    assert (other.code, rows(other)[0]["noise_floor"]) == (0, None)
    refused = shared("compare", "--sweep", folder)
    assert f"noise floor: none of this host and device ({path}: of host not-" in refused.out


@pytest.mark.slow
def test_exact_times_need_one_pair(shell: Shell) -> None:
    values = "strategy=pooled,pipelined,pooled"
    done = shell("compare", *SMALL, values, "workload.tiles=3", "--fail-on", "slower:2%")
    assert (done.code, len(done.folders)) == (0, 3)
    assert "one pair is exact" in done.err
    lines = done.out.splitlines()
    assert [line.split()[-2] for line in lines[1:3]] == ["FASTER", "SAME"]
    assert "changes of strategy=pipelined: configuration: strategy.depth 1 -> 2" in lines
    assert any("harness compare --sweep outputs/" in line for line in lines)
    assert not FLOORS.exists()
    slower = shell("compare", *SMALL, "device.launch_ns=1,900000", "--fail-on=slower:2%", "-q")
    assert (slower.code, slower.err) == (1, "")


@pytest.mark.slow
def test_the_runs_have_one_parent_in_mlflow(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    import_mlflow()
    monkeypatch.setattr("harness.commands.pictures.Drawing", Here)
    with monkeypatch.context() as patch:
        patch.setenv(SWITCH, "on")
        done = shell("compare", *SMALL[1:], "strategy=pooled,pipelined", "--fail-on", "slower:2%")
    assert done.code == 0, done.err
    runs = filed()
    (parent,) = (each for each in runs if not parent_id(each))
    assert [parent_id(each) for each in runs if each is not parent] == [parent.info.run_id] * 2
    assert f"parentRunId=%22{parent.info.run_id}%22" in done.out
    files = Path("outputs/artifacts", parent.info.run_id, "artifacts")
    for name in ("comparison.md", "comparison.json", "comparison.png"):
        assert (files / name).read_bytes() == (done.folders[0].parent / name).read_bytes()
    (row,) = json.loads((files / "comparison.json").read_text())
    assert row["verdict"] in (files / "comparison.md").read_text()
    note = parent.data.tags["mlflow.note.content"]
    assert note.startswith((files / "comparison.md").read_text().partition("\n")[0])
    assert "\n| strategy | run |" in note, "the table of the runs below that of the comparison"
    monkeypatch.setattr(MlflowStore, "log", _fail)
    lacking = shell("compare", *SMALL[1:], "strategy=pooled,pipelined", "--fail-on", "slower:2%")
    assert lacking.code == 1, "within the limit, but not in MLflow"
    assert len(lacking.err.splitlines()) == 2
    assert not (lacking.folders[0].parent / "comparison.png").exists(), f"{SWITCH}=off"
    assert "no longer there" in lacking.err


def _fail(*_: Any) -> None:
    raise TrackingError("no longer there")


@pytest.mark.slow
def test_a_wrong_run_is_invalid(shell: Shell) -> None:
    done = shell("compare", "tracking=off", "workload.tiles=1", "depth=1,1", "strategy=pooled",
                 "device.faults.error=[0]", "--fail-on", "slower:2%")  # fmt: skip
    assert done.code == 2
    assert "INVALID: not all runs are OK: 2 FAILED" in done.out


@pytest.mark.slow
def test_ctrl_c_keeps_the_pairs_that_ended(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted_after(5, monkeypatch)
    done = shell("compare", *NOISY, "depth=1,1", "pairs=9")
    assert done.code == 130
    assert "UNDECIDED: 2 of at least 5 pairs" in done.out
    assert "noise floor: none of this host and device; harness noise-floor measures" in done.out
    assert len(done.folders) >= 5
    again = shell("compare", "--sweep", str(done.folders[0].parent))
    assert "UNDECIDED: 2 of at least 5 pairs" in again.out


@pytest.mark.slow
def test_an_interrupted_noise_floor_is_not_stored(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted_after(11, monkeypatch)
    done = shell("noise-floor", *NOISY, "pairs=6")
    assert done.code == 130
    assert "noise floor: not stored" in done.out
    assert not FLOORS.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("compare strategy=pooled pairs=5", "nothing to compare: give several values of a key"),
        ("compare depth=1,2 pairs=1", "pairs=1: not allowed; an interval needs 5 or more"),
        ("compare depth=1,2 pairs=x", "pairs=x: not allowed"),
        ("compare depth=1,2 pair=9", "pair=9: unknown key; did you mean pairs=9?"),
        ("compare depth=0,1", "depth=0: out of range"),
        ("compare strategy=pooled,poled", "poled"),
        ("compare device.clock=virtual,wall", "simulator in virtual time and simulator in wall"),
        ("compare device.noise.seed=1,2", "device.noise.seed: runs that differ only in seeds are"),
        ("compare seed=1,2", "seed: runs that differ only in seeds are repeats of one setting"),
        ("compare depth=1,2 --fail-on slower", "--fail-on slower: not allowed"),
        ("compare depth=1,2 --threshold", "--threshold: no value; write --threshold <value>"),
        ("compare depth=1,2 --sweep x", "--sweep x: a stored sweep; leave overrides out"),
        ("compare depth=1,2 --fail-up=slower:2%", "--fail-up=slower:2%: no such flag"),
        ("compare depth=1,2 hydra/launcher=joblib", "hydra/launcher: compare runs one setting"),
        ("noise-floor", "virtual time without noise has no noise floor"),
        ("noise-floor device.noise.enabled=true depth=1,2", "give one"),
        ("noise-floor device.noise.enabled=true pairs=4", "pairs=4: not allowed"),
    ],
)
def test_wrong_requests(shell: Shell, arguments: str, message: str) -> None:
    command, *rest = arguments.split()
    done = shell(command, "tracking=off", *rest)
    assert (done.code, done.out) == (2, "")
    assert message in done.err
    assert len(done.err.splitlines()) == 1
    assert not Path("outputs").exists()
