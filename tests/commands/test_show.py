"""`harness show` prints the table of stored runs again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.process import Done, Shell, in_process

from harness.commands.main import dispatch

pytestmark = pytest.mark.slow

QUICK = ("tracking=off", "workload.tiles=2", "measure.repeats=1", "measure.warmup=0")


@pytest.fixture
def shell(
    in_folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Shell]:
    with in_process(monkeypatch, capfd) as run:
        yield run


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
    both = shell("show", str(folder), str(sweep.folders[0].parent), "--json")
    assert len(json.loads(both.out)) == 1 + len(sweep.folders)


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


def test_what_cannot_be_shown(in_folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    Path("empty").mkdir()
    Path("damaged").mkdir()
    Path("damaged/record.json").write_text("{")
    Path("other.json").write_text("{}")
    for argument, message in {
        "": "outputs: no runs here; give the folder of a run or of a sweep",
        "nowhere": "nowhere: no such folder; give the folder of a run or of a sweep",
        "empty": "empty: no record.json here; give the folder of a run or of a sweep",
        "other.json": "other.json: not a record; give a record.json, or its folder",
        "damaged": "damaged/record.json: ",
    }.items():
        assert dispatch(["show", *[argument] * bool(argument)]) == 2
        out, err = capfd.readouterr()
        assert (out, err.count("\n")) == ("", 1)
        assert err.startswith(f"harness: {message}")
