"""`harness show` prints the table of stored runs again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from support.process import Done, Shell

from harness.commands.main import dispatch

pytestmark = pytest.mark.slow

QUICK = ("tracking=off", "workload.tiles=2", "measure.repeats=1", "measure.warmup=0")


def table(out: str) -> str:
    """Output without its closing lines."""
    return out.partition("results: ")[0]


def test_runs_and_sweeps_are_shown_as_they_were(shell: Shell) -> None:
    run = shell("strategy=pipelined", *QUICK)
    (folder,) = run.folders
    for argument in (folder, folder / "record.json"):
        shown = shell("show", str(argument))
        assert (shown.code, shown.err, shown.out) == (0, "", table(run.out))
    sweep = shell("-m", "strategy=baseline,pooled", "depth=1,2", *QUICK)
    again = shell("show", str(sweep.folders[0].parent))
    assert (again.code, again.out) == (0, table(sweep.out))
    both = (str(folder), str(sweep.folders[0].parent))
    assert len(json.loads(shell("show", *both, "--json").out)) == 1 + len(sweep.folders)
    lines = shell("show", *both).out.splitlines()[1:]
    for line, each in zip(lines, [folder, *sweep.folders], strict=False):
        assert line.endswith(f" OK      {each}"), "rows of different folders"


def test_the_newest_without_an_argument(shell: Shell) -> None:
    def newest() -> Done:
        return shell("show")

    sweep = shell("-m", "depth=1,2", *QUICK)
    assert table(newest().out) == table(sweep.out)
    assert newest().out.splitlines()[-1] == f"results: {sweep.folders[0].parent}"
    run = shell("strategy=baseline", *QUICK)
    assert table(newest().out) == table(run.out)


def test_jobs_are_in_the_order_of_their_numbers(shell: Shell) -> None:
    done = shell("-m", f"seed={','.join(map(str, range(11)))}", *QUICK)
    shown = shell("show", str(done.folders[0].parent), "--json")
    assert [row["seed"] for row in json.loads(shown.out)] == list(range(11))


def remove_record(folder: Path) -> None:
    """As a kill -9 in the run would leave its folder."""
    (folder / "record.json").unlink()


def test_a_sweep_that_was_killed_is_shown_as_far_as_it_got(shell: Shell) -> None:
    shell("seed=7", *QUICK)
    sweep = shell("-m", "seed=1,2,3", *QUICK)
    folder = sweep.folders[0].parent
    remove_record(sweep.folders[2])
    why = "the sweep still runs, was killed, or could not store it"
    for arguments in ([], [str(folder)]):
        shown = shell("show", "--json", *arguments)
        assert (shown.code, shown.err) == (0, f"harness: {folder}: job 2 has no record: {why}\n")
        assert [row["seed"] for row in json.loads(shown.out)] == [1, 2]
    remove_record(sweep.folders[1])
    assert f"{folder}: jobs 1, 2 have no record: {why}" in shell("show").err
    job = shell("show", str(sweep.folders[1]))
    assert job.err == (
        f"harness: {sweep.folders[1]}: the run has no record: it still runs, was killed, or could "
        f"not store it; `harness show {folder}` shows the other jobs of its sweep\n"
    )


def test_jobs_that_never_began(shell: Shell) -> None:
    """As a kill -9 between two jobs would leave the folder of the sweep."""
    sweep = shell("-m", "seed=1,2,3,3", *QUICK)
    folder = sweep.folders[0].parent
    assert shell("show", str(folder)).err == ""
    shutil.rmtree(sweep.folders[2])
    never = "1 of 3 jobs never began"
    shown = shell("show", str(folder))
    assert (shown.code, len(shown.out.splitlines())) == (0, len(sweep.out.splitlines()) - 2)
    why = "the sweep still runs, was interrupted, or was killed"
    assert shown.err == f"harness: {folder}: {never}: {why}\n"
    assert (
        f"outputs: {never}: sweep {folder.relative_to('outputs')} " in shell("show", "outputs").err
    )


def test_a_killed_sweep_that_ran_again_lacks_nothing(shell: Shell) -> None:
    """One job was killed after Hydra's files were written, the last one before."""
    request = ("-m", "seed=1,2,3,4", "hydra.sweep.dir=outputs/killed", *QUICK)
    killed = shell(*request)
    remove_record(killed.folders[2])
    shutil.rmtree(killed.folders[3])
    killed.folders[3].mkdir()
    again = shell(*request)
    assert [folder.name for folder in again.folders] == ["4", "5"]
    shown = shell("show", "outputs/killed")
    assert (shown.code, shown.err) == (0, "")
    assert len(table(shown.out)) == len(table(again.out))


def test_a_job_with_an_internal_error(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise RecursionError

    with monkeypatch.context() as patch:
        patch.setattr("harness.commands.run.record_of", fails)
        assert shell("-m", "seed=1,2", *QUICK).code == 1
    shown = shell("show")
    logs = [path.parents[1] / "harness.log" for path in Path("outputs").glob("**/overrides.yaml")]
    assert (shown.code, len(logs)) == (2, 2)
    for log in logs:
        assert log.is_file()
        assert f"{log}: the traceback of an internal error, which ended this run" in shown.err


def test_the_newest_has_no_record(shell: Shell) -> None:
    before = shell("seed=7", *QUICK)
    sweep = shell("-m", "seed=1", *QUICK)
    folder = sweep.folders[0].parent
    remove_record(sweep.folders[0])
    why = "job 0 has no record: the sweep still runs, was killed, or could not store it"
    shown = shell("show")
    assert (shown.code, table(shown.out)) == (0, table(before.out))
    newest = f"{before.folders[0]} is the newest with records"
    assert shown.err == f"harness: {folder}: {why}; {newest}\n"
    shown = shell("show", str(folder))
    assert (shown.code, shown.out) == (2, "")
    assert shown.err == f"harness: {folder}: {why}\n"
    run = shell("seed=8", *QUICK)
    remove_record(run.folders[0])
    assert f"{run.folders[0]}: the run has no record: it still runs, " in shell("show").err
    assert "the run has no record" in shell("show", str(run.folders[0])).err


def test_what_cannot_be_shown(in_folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    Path("empty").mkdir()
    Path("damaged").mkdir()
    Path("damaged/record.json").write_text("{")
    for name, text in {"lacking": "{}", "text": "no record"}.items():
        Path(name).mkdir()
        Path(name, "record.json").write_text(text)
    Path("other.json").write_text("{}")
    for argument, message in {
        "": "outputs: no runs here; give the folder of a run or of a sweep",
        "nowhere": "nowhere: no such folder; give the folder of a run or of a sweep",
        "empty": "empty: no record.json here; give the folder of a run or of a sweep",
        "other.json": "other.json: not a record; give a record.json, or its folder",
        "damaged": "damaged/record.json: damaged: it ends too early (EOF ",
        "lacking": "lacking/record.json: not a complete record: 17 fields are missing: name, label",
        "text/record.json": "text/record.json: damaged: it is not JSON (expected ident at line 1",
    }.items():
        assert dispatch(["show", *[argument] * bool(argument)]) == 2
        out, err = capfd.readouterr()
        assert (out, err.count("\n")) == ("", 1)
        assert err.startswith(f"harness: {message}")
