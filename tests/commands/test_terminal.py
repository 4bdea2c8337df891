"""What the terminal shows: forms of the tables, quiet and verbose, colours, closing lines."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from support.process import ROOT, Shell, process
from support.record_samples import a_record

from harness.commands.closing import interrupted_line
from harness.commands.hydra_argv import config_dir, take_presentation
from harness.commands.main import dispatch
from harness.commands.terminal import show
from harness.config.schema import Tracking, TrackingKind
from harness.config.strategy import Strategy
from harness.errors import RequestError
from harness.execution.outcome import Verdict
from harness.measure.bottleneck import bottleneck
from harness.measure.stats import spread
from harness.measure.stopping import Stop, StopReason
from harness.measure.totals import Totals
from harness.report.run_lines import footnotes, legend
from harness.report.runs import fastest, table
from harness.report.tables import (
    Cell,
    Format,
    Sheet,
    draw,
    formatted,
    hidden,
    left,
    number,
    right,
)
from harness.results.record import Record, Samples
from harness.results.rtf_gap import bound_by

pytestmark = pytest.mark.slow

QUICK = ("tracking=off", "workload.tiles=3", "measure.repeats=1", "measure.warmup=0")


# Forms of a table


def a_sheet() -> Sheet:
    sheet = Sheet("things", left("name"), right("ms", "time_ms"), hidden("note"))
    sheet.add("a|b", number(1.23456, "{:.2f}"), Cell("", 'x "y", z'))
    sheet.add("two\nlines", number(None, "{:.2f}"), Cell("", None))
    return sheet


def test_text_has_no_spaces_at_the_end_and_lines_of_cells() -> None:
    text = formatted(["head", a_sheet(), ""], Format.text)
    assert text == "head\nname    ms\na|b   1.23\ntwo      -\nlines\n\n"


def test_csv_is_read_back_unrounded() -> None:
    rows = list(csv.DictReader(io.StringIO(formatted(["head", a_sheet()], Format.csv))))
    assert rows == [
        {"name": "a|b", "time_ms": "1.23456", "note": 'x "y", z'},
        {"name": "two\nlines", "time_ms": "", "note": ""},
    ]


def test_json_of_one_table_and_of_several() -> None:
    rows = [
        {"name": "a|b", "time_ms": 1.23456, "note": 'x "y", z'},
        {"name": "two\nlines", "time_ms": None, "note": None},
    ]
    assert json.loads(formatted([a_sheet(), "tail"], Format.json)) == rows
    other = Sheet("others", left("name"))
    assert json.loads(formatted([a_sheet(), other], Format.json)) == {"things": rows, "others": []}


def test_markdown_escapes_what_would_end_a_cell() -> None:
    assert formatted([a_sheet(), "tail"], Format.markdown).splitlines() == [
        "| name | ms |",
        "| --- | ---: |",
        "| a\\|b | 1.23 |",
        "| two<br>lines | - |",
        "",
        "tail",
    ]


def test_markdown_makes_no_list_of_a_line() -> None:
    assert formatted(["* fastest", "*b* c"], Format.markdown) == "\\* fastest\n\n*b* c\n"


def test_a_row_that_does_not_fit_its_table() -> None:
    with pytest.raises(ValueError, match="things: 1 cells for 3 columns"):
        a_sheet().add("alone")


# Flags


def test_flags_are_taken_out_before_hydra() -> None:
    rest, found = take_presentation(["-m", "--csv", "depth=1,2", "-q"])
    assert rest == ["-m", "depth=1,2"]
    assert (found.form, found.quiet, found.verbose, found.for_readers) == (
        "csv",
        True,
        False,
        False,
    )
    rest, found = take_presentation(["--verbose"])
    assert found.verbose
    assert rest == ["hydra.job_logging.handlers.terminal.level=DEBUG"]
    with pytest.raises(RequestError, match="--csv --json: several forms of one table; give one"):
        take_presentation(["--csv", "--json"])


@pytest.mark.parametrize(
    ("arguments", "path"),
    [("a=1", None), ("--config-dir mine a=1", Path("mine")), ("--config-dir=mine", Path("mine"))],
)
def test_the_users_folder(arguments: str, path: Path | None) -> None:
    assert config_dir(arguments.split()) == path


def test_a_run_as_csv_and_json(shell: Shell) -> None:
    done = shell("strategy=pipelined", "--csv", *QUICK)
    assert (done.code, done.err) == (0, "")
    (row,) = csv.DictReader(io.StringIO(done.out))
    metrics = done.record["metrics"]
    for name, value in metrics.items():
        if name != "speedup/vs_baseline":
            assert row[name] == ("" if value is None else str(value)), name
    assert (row["strategy"], row["folder"]) == ("pipelined", str(done.folders[0]))
    done = shell(
        "-m", "--json", "strategy=baseline,pooled", "workload.source=speech,random", *QUICK
    )
    rows = json.loads(done.out)
    assert [each["strategy"] for each in rows] == ["baseline", "baseline", "pooled", "pooled"]
    assert [each["workload.source"] for each in rows] == ["speech", "random"] * 2
    assert rows[0]["speedup/vs_baseline"] == 1


def test_quiet_prints_the_table_only(shell: Shell) -> None:
    done = shell("-q", "strategy=baseline", "depth=3", *QUICK)
    assert (done.code, done.err, len(done.out.splitlines())) == (0, "", 2)


def test_quiet_still_says_why_a_run_failed(shell: Shell) -> None:
    done = shell("-q", "device.faults.hang=[1]", *QUICK)
    assert (done.code, done.err) == (1, "")
    _, row, reason = done.out.splitlines()
    assert row.endswith(" FAILED")
    assert reason == f"FAILED pooled d2 b1 c1: {done.record['reason']}"


def test_verbose_logs_to_stderr(in_folder: Path) -> None:
    done = process("-v", *QUICK)
    assert done.code == 0
    assert "harness: pooled d2 b1 c1: pass 1 of 1\n" in done.err
    assert process(*QUICK).err == ""


# Where the results are


def test_a_run_ends_with_where_its_results_are(shell: Shell) -> None:
    done = shell(*QUICK)
    (folder,) = done.folders
    assert done.out.splitlines()[-1] == (
        f"results: {folder}: record.json, trace.json (open it in ui.perfetto.dev)"
    )
    done = shell("-m", "depth=1,2", *QUICK)
    sweep = done.folders[0].parent
    assert done.out.splitlines()[-1].startswith(f"results: {sweep}: ")


def test_the_line_of_mlflow(in_folder: Path) -> None:
    done = process("workload.tiles=2", "measure=quick")
    link = r"http://127\.0\.0\.1:5000/#/experiments/1/runs/[0-9a-f]{32}"
    assert re.fullmatch(f"MLflow: harness ui, then {link}", done.out.splitlines()[-1])


@pytest.mark.parametrize(
    ("backend", "tracked", "stored"),
    [
        ("mlflow", False, "the record is stored"),
        ("mlflow", True, "the record is stored, then its MLflow run"),
        ("lines", True, "the record is stored, then its run in lines"),
    ],
)
def test_what_a_ctrl_c_announces(backend: str, tracked: bool, stored: str) -> None:
    tracking = Tracking(TrackingKind.local, backend, "sqlite:///a.db", "artifacts")
    line = interrupted_line(tracking, tracked).replace(" (importing mlflow takes seconds)", "")
    assert line == f"interrupted; runs in flight end, then {stored}; another Ctrl-C stops waiting"


# Figures of the main table


def test_the_spread_is_the_range_over_the_median() -> None:
    assert spread([100, 110, 90]) == pytest.approx(0.2)
    assert spread([5, 5]) == 0
    assert spread([100]) is spread([]) is spread([0, 0]) is None


def test_what_binds_a_pass() -> None:
    totals = Totals("monotonic", 1, 10, 100, 1, 20, 25, 30, 5)
    assert bottleneck(totals, "gelu") == "host: launch"
    assert bottleneck(replace(totals, wait_ns=52), "gelu") == "device: gelu"
    assert bottleneck(replace(totals, wait_ns=totals.host_ns), "gelu") is None
    timed = replace(totals, bound_ns=90, host_bound_ns=40, device_bound_ns=90)
    assert bottleneck(timed, "gelu") == "device: gelu"
    assert bottleneck(replace(timed, host_bound_ns=91), "gelu") == "host: launch"
    assert bottleneck(replace(timed, bound_ns=72), "gelu") == "both: 1.39x bound"
    assert bottleneck(replace(timed, bound_ns=80), "gelu") == "device: gelu", "at the limit"
    loads = replace(timed, exec_ns=40, load_ns=41)
    assert bottleneck(loads, "gelu") == "device: loading contexts"
    assert bottleneck(replace(loads, load_ns=40), "gelu") == "device: gelu"
    assert bottleneck(None, "gelu") is None
    assert bottleneck(replace(totals, makespan_ns=0), "gelu") is None


def test_the_fastest_right_run_is_marked() -> None:
    def run(rtf: float | None, tile_ms: float, verdict: Verdict = Verdict.OK, kernel: str = "a"):
        metrics = {**a_record().metrics, "rtf/encoder": rtf, "time/tile_ms": tile_ms}
        return replace(a_record(), metrics=metrics, verdict=verdict, kernel=kernel)

    assert fastest([run(1, 9), run(3, 9), run(3, 9), run(9, 1, Verdict.WRONG)]) == {1}
    assert fastest([run(1, 9)]) == set(), "nothing to compare with"
    unproven = replace(run(9, 1), config={**a_record().config, "verify": "off"})
    assert fastest([run(1, 9), unproven, run(3, 9)]) == {2}, "its outputs were not compared"
    kernels = [run(None, 9), run(None, 8), run(None, 1, kernel="b"), run(None, 2, kernel="b")]
    assert fastest(kernels) == {1, 2}
    assert legend(kernels)[-1] == "* fastest right run of each accounting or kernel"
    strix = {**a_record().config, "device": {"kind": "simulator", "profile": "strix"}}
    machines = [*(run(None, ms) for ms in (9, 8)), *[replace(run(None, 1), config=strix)] * 2]
    assert fastest(machines) == {1, 2}, "two simulated machines are two devices"
    assert legend(machines)[-1].startswith("* fastest right run of each device, ")
    near = [run(None, ms) for ms in (9, 8.001, 8.1, 8)]
    assert legend(near)[-1] == "* fastest right run; 1 other is as fast, to within 0.1%"
    assert legend([*near, *near])[-1].endswith("; 3 others are as fast, to within 0.1%")


def test_a_harness_that_takes_much_of_the_time_says_so() -> None:
    def below(self_us: float | None, tile_ms: float | None) -> list[str]:
        metrics = {**a_record().metrics, "harness/self_us": self_us, "time/tile_ms": tile_ms}
        lines = footnotes([replace(a_record(), metrics=metrics)])
        return [line for line in lines if "harness/self_us" in line]

    assert below(101, 2) == [
        "per_tile d1 b1 c1: 5.1% of the time is the harness's own work (harness/self_us)"
    ]
    assert below(99, 2) == below(None, 2) == below(101, None) == []


def test_what_a_row_is() -> None:
    five, one = a_record(), replace(a_record(), samples=Samples((7,)))
    assert legend([five]) == ["a row is the median of 5 timed passes; spread: their range / median"]
    assert legend([one]) == ["a row is one timed pass"]
    assert legend([five, one])[0].startswith("a row is the median of 1 to 5 timed passes")
    assert legend([replace(a_record(strategy=Strategy()), samples=Samples(()))]) == []


def test_why_passes_ended_is_in_the_row_where_their_times_decided() -> None:
    def ended(reason: StopReason, width: float | None) -> Record:
        return replace(a_record(), stop=Stop(reason, width))

    rows = [ended(StopReason.width, 0.00314), ended(StopReason.passes, None)]
    old = replace(a_record(), stop=None)
    sheet = table([*rows, a_record(), old], [None] * 4)
    text = formatted([sheet], Format.text)
    for shown in (" width 0.31% ", " cap reached: passes ", " requested 3.00% ", " - "):
        assert shown in text
    found = [(row["stop"], row["stop_width"]) for row in sheet.values()]
    assert found == [
        ("width", 0.00314),
        ("cap reached: passes", None),
        ("requested", 0.03),
        (None, None),
    ]
    explained = [line.partition(": ")[0] for line in legend(rows)]
    assert explained[1:3] == ["width", "cap reached"], "below what a row is"
    without = table([a_record(), ended(StopReason.exact, None), old], [None] * 3)
    assert "stop" not in next(iter(without.values()))


def test_runs_of_several_folders_have_their_folder() -> None:
    folders = [Path("outputs/a/1"), Path("outputs/b/1")]
    for apart in (False, True):
        rows = table([a_record()] * 2, [None] * 2, folders, apart=apart)
        text = formatted([rows], Format.text)
        assert [f"OK      {folder}\n" in text for folder in folders] == [apart, apart]
        assert [row["folder"] for row in rows.values()] == list(map(str, folders))


@pytest.mark.parametrize(
    ("workload", "limit"),
    [
        ({"kernel": "gelu"}, "device: gelu"),
        ({"chain": ["gelu", "gelu", "gelu"], "kernel": ""}, "device: 3 kernels"),
        ({"model": "whisper_base", "fused": False}, "device: 4 kernels"),
        ({"model": "whisper_base", "fused": True}, "device: 2 kernels"),
    ],
)
def test_a_chain_is_bound_by_its_kernels(workload: dict[str, object], limit: str) -> None:
    config = {"workload": workload}
    assert bound_by(replace(a_record(), steps=(), kernel="gelu", config=config)) == limit


# Terminals


@pytest.mark.parametrize("width", [None, 20, 16])
def test_a_table_wider_than_the_terminal(width: int | None) -> None:
    sheet = Sheet("runs", left("name"), right("first"), right("second"), left("last"))
    sheet.add("one", "1", "2", "the end")
    console = Console(file=io.StringIO(), width=60)
    draw([sheet, "tail"], console, width)
    assert (
        console.file.getvalue().splitlines()
        == {  # type: ignore[attr-defined]
            None: ["name first second last", "one      1      2 the end", "tail"],
            20: ["name first second", "one      1      2", "", "name last", "one  the end", "tail"],
            16: [
                *("name first", "one      1", "", "name second", "one       2", ""),
                *("name last", "one  the end", "tail"),
            ],
        }[width]
    )


def on_a_terminal(*arguments: str, **environment: str) -> str:
    """What a command writes to a terminal, escape codes included."""
    ours, theirs = pty.openpty()
    removed = ("NO_COLOR", "FORCE_COLOR", "COLUMNS")
    inherited = {key: each for key, each in os.environ.items() if key not in removed}
    running = subprocess.Popen(
        [sys.executable, "-m", "harness", *arguments],
        stdout=theirs,
        env={**inherited, "PYTHONPATH": str(ROOT), "COLUMNS": "60", **environment},
    )
    os.close(theirs)
    written = b""
    try:
        while piece := os.read(ours, 1 << 16):
            written += piece
    except OSError:  # EIO: the other end is closed
        pass
    os.close(ours)
    assert running.wait() == 0
    return written.decode().replace("\r\n", "\n")


def test_colours_only_where_they_are_wanted(in_folder: Path) -> None:
    arguments = ("list", "strategies")
    plain = process(*arguments).out
    assert "\x1b" not in plain
    coloured = on_a_terminal(*arguments, TERM="xterm-256color")
    assert "\x1b[1m" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == plain
    assert on_a_terminal(*arguments, TERM="xterm-256color", NO_COLOR="1") == plain
    assert on_a_terminal(*arguments, TERM="dumb") == plain


@pytest.mark.parametrize(("columns", "narrow"), [("60", True), ("", False), ("wide", False)])
def test_a_dumb_terminal_is_as_wide_as_columns(
    columns: str, narrow: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("sys.stdout", Terminal())
    for name, value in {"TERM": "dumb", "COLUMNS": columns}.items():
        monkeypatch.setenv(name, value)
    show([Sheet("a", left("first" * 5), left("second" * 5), left("third" * 5))], "table")
    assert (max(map(len, sys.stdout.getvalue().splitlines())) <= 60) is narrow


def test_accounting_as_csv(in_folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert dispatch(["accounting", "--csv"]) == 0
    tables = capfd.readouterr().out.split("\n\n")
    assert len(tables) == 3
    rows = {row["kernel"]: row for row in csv.DictReader(io.StringIO(tables[1]))}
    assert rows["matmul"]["calls/window"] == "7309440"
