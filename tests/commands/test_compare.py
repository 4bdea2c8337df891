"""`harness compare` on stored runs: what it reads, prints, refuses, and its exit codes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from support.process import Shell
from support.record_samples import a_record
from support.timed_runs import TIMES, run

from harness.execution.outcome import Verdict


def stored(
    folder: str, ratio: float = 1.0, times: tuple[float, ...] = TIMES, first: int = 0
) -> str:
    """Records of as many runs below a folder of a sweep, alternating with those from `first`."""
    for index, time in enumerate(times):
        place = Path(folder, str(index))
        place.mkdir(parents=True)
        run(ratio * time, first + 2 * index, device__launch_ns=first).save(place)
    return folder


def test_the_table(shell: Shell) -> None:
    done = shell("compare", stored("old"), stored("new", 0.9, first=1))
    assert (done.code, done.err) == (0, "")
    heading, row, *lines = done.out.splitlines()
    assert " ".join(heading.split()) == (
        "setting run reference ms/tile ratio 95 % interval pairs verdict more pairs"
    )
    assert " ".join(row.split()) == (
        "baseline per_tile d1 b1 c1 100.250 90.225 0.900 [0.900, 0.900] 6 FASTER -"
    )
    assert lines[0].startswith("ratio: time / time of old,")
    assert "changes: configuration: device.launch_ns 0 -> 1" in lines
    assert not any("alternate" in line for line in lines)


def test_runs_that_did_not_alternate(shell: Shell) -> None:
    done = shell("compare", stored("old"), stored("new", 0.9, first=30))
    assert "the runs did not alternate" in done.out


@pytest.mark.parametrize("form", ["--json", "--csv", "--markdown"])
def test_forms(shell: Shell, form: str) -> None:
    done = shell("compare", form, stored("old"), stored("new", 0.9, first=1))
    assert (done.code, done.err) == (0, "")
    if form == "--json":
        (row,) = json.loads(done.out)
        assert row["verdict"] == "FASTER"
        assert row["low"] < 0.9 < row["high"]
        assert row["configuration"] == "device.launch_ns 0 -> 1"
        assert (row["reference"], row["threshold"], row["pairs"]) == ("old", 0.01, 6)
    else:
        assert done.out.count("FASTER") == 1 + (form == "--markdown")


def test_files_and_patterns(shell: Shell) -> None:
    stored("a/old")
    stored("a/new", 0.9, first=1)
    done = shell("compare", "a/old/*", "a/n*/**")
    assert (done.code, done.out.split().count("FASTER")) == (0, 1)
    one = shell("compare", "a/old/0/record.json", "a/new/0")
    assert one.code == 0
    assert "UNDECIDED: 1 of at least 5 pairs" in one.out


def test_one_sweep(shell: Shell) -> None:
    for place in ("0", "1"):
        folder = Path("outputs", "day", "time", place)
        folder.mkdir(parents=True)
        values = {"device__clock": "virtual", "strategy__depth": int(place)}
        run(100 - 10 * int(place), int(place), **values).save(folder)
    Path("outputs/day/time/multirun.yaml").touch()
    for name in ("time", "outputs/day/time"):
        done = shell("compare", "--sweep", name)
        assert (done.code, done.err) == (0, "")
        assert "exact" in done.out
        assert "FASTER" in done.out
    assert shell("compare", "--sweep", "time", "--fail-on", "slower:2%").code == 0


@pytest.mark.parametrize(
    ("ratio", "flags", "code", "answer"),
    [
        (1.05, "--fail-on slower:2%", 1, "slower by more than 2 %: yes"),
        (1.0, "--fail-on slower:2%", 0, "slower by more than 2 %: no"),
        (0.8, "--fail-on=slower:0.5", 0, "slower by more than 0.5 %: no"),
        (1.02, "--fail-on slower:2%", 2, "slower by more than 2 %: cannot be decided"),
        (1.05, "", 0, "SLOWER"),
        (1.05, "--threshold 10%", 0, "SAME"),
    ],
)
def test_gates(shell: Shell, ratio: float, flags: str, code: int, answer: str) -> None:
    times = tuple(time * (1 + 0.001 * (place % 2)) for place, time in enumerate(TIMES))
    new = stored("new", ratio, times, first=1)
    done = shell("compare", stored("old"), new, *flags.split())
    assert (done.code, done.err) == (code, "")
    assert answer in done.out


def test_the_picture(shell: Shell) -> None:
    done = shell("compare", stored("old"), stored("new", 0.9, first=1), "--picture", "x.png")
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines()[-1] == "picture: x.png"
    assert Path("x.png").read_bytes().startswith(b"\x89PNG")


def test_a_picture_that_cannot_be_drawn_costs_no_table(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: object) -> None:
        raise ImportError("no fonts\nat all")

    monkeypatch.setattr("harness.commands.compare_files.save", broken)
    done = shell("compare", stored("old"), stored("new", 0.9, first=1), "--picture", "x.png")
    assert done.code == 1
    assert "FASTER" in done.out
    assert "x.png" not in done.out
    message = "--picture x.png: cannot be written (no fonts at all); give another file"
    assert done.err == f"harness: {message}\n"


def test_a_wrong_run_is_invalid(shell: Shell) -> None:
    new = stored("new", first=1)
    a_record(verdict=Verdict.WRONG, config=run(device__launch_ns=1).config).save(Path(new, "0"))
    for flags in ("", "--fail-on slower:2%"):
        done = shell("compare", stored(f"old{len(flags)}"), new, *flags.split())
        assert done.code == 2
        assert "INVALID: not all runs are OK: 1 WRONG" in done.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("", "compare: give two runs, the reference first"),
        ("old", "old: give two runs"),
        ("old new old", "old new old: give two runs"),
        ("old absent", "absent: no such folder; give the folder of a run or of a sweep"),
        ("old x*", "x*: the pattern matches nothing"),
        ("old damaged", "damaged/record.json: damaged: it is not JSON"),
        ("old newer", "newer/record.json: schema_version: "),
        ("old npu", "simulator and hardware: their times have no common ratio"),
        ("--sweep old", "all 6 runs have one setting (seeds do not count): there is nothing"),
        ("--sweep old/0", "one run: there is nothing to compare"),
        ("--sweep 10-00", "--sweep=10-00: no such sweep; give the folder of a sweep"),
        ("--sweep old new", "--sweep=old new: give a sweep, or two runs"),
        ("old old --fail-on faster:2%", "--fail-on faster:2%: not allowed; give slower:PERCENT"),
        ("old old --fail-on slower:x", "harness: --fail-on slower:x: not a percentage"),
        ("old old --threshold 0", "harness: --threshold 0: not a percentage"),
        ("old old --picture x.jpg", "--picture x.jpg: not a picture; give a file as in forest.png"),
        ("old old --picture no/x.png", "--picture no/x.png: no folder no; create it first"),
        ("depth=1,2 --picture x.png", "--picture x.png: only for stored runs"),
        ("old old --treshold 1%", "--treshold: no such flag; did you mean --threshold?"),
    ],
)
def test_wrong_requests(shell: Shell, arguments: str, message: str) -> None:
    stored("old")
    for name in ("damaged", "newer", "npu"):
        Path(name).mkdir()
    Path("damaged/record.json").write_text("{,")
    path = run().save(Path("newer"))
    path.write_text(re.sub('"schema_version": .', '"schema_version": 99', path.read_text()))
    path = run().save(Path("npu"))
    path.write_text(path.read_text().replace('"device": "simulator"', '"device": "hardware"'))
    done = shell("compare", *arguments.split())
    assert (done.code, done.out) == (2, "")
    assert len(done.err.splitlines()) == 1
    assert message in done.err
