"""The sentence below the table follows from the numbers of the run, and its advice holds."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from support.experiments import record_of_run
from support.record_samples import a_record

from harness.execution.outcome import Verdict
from harness.measure.totals import Totals
from harness.report.payoff import payoff_parts
from harness.report.run_lines import lines_below
from harness.report.tables import Sheet
from harness.report.time_spent import sentence
from harness.results.record import Record
from harness.results.rtf_gap import bound_by
from harness.study.memory_cost import memory_cost_of
from harness.study.payoff import payoffs_of, variants_of
from harness.tracking.notes import run_note

IDLE = "the column is idle for 0.30 ms (30.0%), mostly"
MS = 1_000_000
TOTALS = Totals(
    clock="virtual",
    columns=1,
    tiles=10,
    makespan_ns=MS,
    alloc_ns=0,
    write_ns=50_000,
    launch_ns=200_000,
    wait_ns=700_000,
    read_ns=50_000,
    exec_ns=700_000,
    stalls=9,
    stall_ns=180_000,
    bound_ns=900_000,
    serial_ns=2 * MS,
    host_bound_ns=300_000,
    device_bound_ns=900_000,
    busy_ns=700_000,
    fill_ns=60_000,
    drain_ns=60_000,
    stall_host_ns=0,
    stall_queue_ns=0,
    stall_slot_ns=180_000,
    exposed_ns=100_000,
)


def of(kernel: str = "attention", **changes: Any) -> str | None:
    """The sentence of a run with these totals, without advice: its request is not known."""
    totals = replace(TOTALS, **changes)
    record = replace(a_record(), totals=totals, steps=(), kernel=kernel)
    return sentence(replace(record, config={**record.config, "workload": {"kernel": kernel}}))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (
            {"makespan_ns": 905_000},
            "The device limits the run: it executes 77.3% of the time",
        ),
        (
            {"makespan_ns": 905_000, "columns": 2},
            "The device limits the run: its 2 columns execute 38.7% of the time",
        ),
        (
            {"makespan_ns": 905_000, "kernel": "a+b", "columns": 2},
            "The device limits the run: some kernel executes 70.0% of the time",
        ),
        (
            {"makespan_ns": 905_000, "exec_ns": 300_000, "load_ns": 400_000},
            "The device limits the run: loading contexts takes 40.0% of its columns' time",
        ),
        ({}, f"The device limits the run, but {IDLE} because no slot is free"),
        (
            {"stall_slot_ns": 80_000, "stall_host_ns": 100_000},
            f"The device limits the run, but {IDLE} because the host is busy",
        ),
        (
            {"stall_slot_ns": 0, "stall_queue_ns": 180_000},
            f"The device limits the run, but {IDLE} because another queue is full",
        ),
        (
            {"stall_slot_ns": 0, "stall_ns": 0, "fill_ns": 240_000},
            f"The device limits the run, but {IDLE} before the first execution",
        ),
        (
            {"stall_slot_ns": 0, "stall_ns": 0, "drain_ns": 240_000},
            f"The device limits the run, but {IDLE} after the last execution",
        ),
        (
            {"stall_slot_ns": 0, "stall_ns": 0, "busy_ns": 880_000},
            f"The device limits the run, but {IDLE} because launched work began late",
        ),
        (
            {"busy_ns": None},
            "The device limits the run, but the column is idle for 0.18 ms in stalls",
        ),
        (
            {"open_ns": 50_000, "bound_ns": 800_000, "device_bound_ns": 800_000},
            "The device limits the run, but the column is idle for 0.28 ms (30.0%), mostly because "
            "no slot is free, and opening contexts takes 5.0%",
        ),
        (
            {"host_bound_ns": 950_000, "bound_ns": 950_000, "read_ns": 400_000},
            "The host limits the run: it works 65.0% of the time, longest to read (0.040 ms a "
            "tile)",
        ),
        (
            {"bound_ns": 700_000},
            f"Neither the host nor the device limits the run alone: {IDLE} because no slot is free",
        ),
        (
            {"bound_ns": None},
            "The device limits the run: the host waits for it 70.0% of the time; without device "
            "times, idle time is not visible",
        ),
        (
            {"bound_ns": None, "wait_ns": 100_000},
            "The host limits the run: it works 30.0% of the time, longest to launch (0.020 ms a "
            "tile); without device times, idle time is not visible",
        ),
        ({"bound_ns": None, "wait_ns": 300_000}, None),
        (
            {"tiles": 1, "makespan_ns": 905_000},
            "The device limits the run: it executes 77.3% of the time; a single tile has "
            "nothing to overlap with",
        ),
    ],
)
def test_the_sentence_follows_from_the_totals(changes: dict[str, Any], text: str | None) -> None:
    assert of(**changes) == text


def test_long_times_are_in_seconds() -> None:
    scaled = {
        name: value * 100_000
        for name, value in vars(TOTALS).items()
        if name.endswith("_ns") and value
    }
    assert "idle for 30.0 s (30.0%)" in (of(**scaled) or "")


def test_runs_without_times_have_no_sentence() -> None:
    assert sentence(replace(a_record(), totals=None)) is None
    assert sentence(a_record(verdict=Verdict.WRONG)) is None


def run(text: str) -> Record:
    return record_of_run(*text.split())


REGIMES = {
    "device bound": "workload=attention workload.tiles=6",
    "host bound": "workload=gelu workload.tiles=12",
    "chain": "workload=encoder_block workload.tiles=6",
}
STRATEGIES = ("baseline", "pooled", "pipelined", "batch", "stacked")
SAVES = re.compile(r"(depth|batch|columns)=(\d+) would save (\d+)%")


@pytest.mark.parametrize("regime", REGIMES.values(), ids=REGIMES)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_advice_is_what_runs_gain(strategy: str, regime: str) -> None:
    request = f"strategy={strategy} {regime}"
    record = run(request)
    text = sentence(record)
    assert text
    assert record.totals
    found = SAVES.findall(text)
    assert found or "more depth gains nothing" in text or "no other" in text, text
    for knob, value, percent in found:
        better = run(f"{request} strategy.{knob}={value}").totals
        assert better
        saved = 1 - better.makespan_ns / record.totals.makespan_ns
        assert saved >= 0.01
        assert f"{saved:.0%}" == f"{percent}%"


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        (
            "strategy=pipelined depth=3",
            "The device limits the run: it executes 99.2% of the time; a depth of 2 is enough, "
            "strategy.columns=4 would save 69%",
        ),
        (
            "strategy=pipelined workload.tiles=200 strategy.columns=4",
            "The device limits the run: its 4 columns execute 99.5% of the time; more depth gains "
            "nothing",
        ),
        (
            "strategy=pipelined strategy.columns=4",
            "The device limits the run, but the columns are idle for 1.21 ms (20.2%), mostly after "
            "the last execution; no other depth, batch or number of columns would save 1%",
        ),
        (
            "strategy=pipelined workload.tiles=1",
            "The device limits the run: it executes 92.3% of the time; a single tile has "
            "nothing to overlap with",
        ),
        (
            "strategy=pipelined workload=whisper_tiny workload.accounting=full workload.tiles=2",
            "The host limits the run: it works 91.9% of the time, longest to launch (0.069 ms a "
            "tile)",
        ),
        (
            "strategy=pipelined workload=encoder_block",
            "The device limits the run, but all kernels are idle for 0.64 ms (3.2%), mostly "
            "because no slot is free; strategy.columns=3 would save 50%",
        ),
        (
            "strategy=pipelined workload=encoder_block strategy.columns=3",
            "Neither the host nor the device limits the run alone: all kernels of a column are "
            "idle for 3.42 ms (34.4%), mostly after the last execution; strategy.depth=3 would "
            "save 2%, strategy.batch=4 would save 9%",
        ),
        (
            "strategy=pooled device.noise.enabled=true workload.tiles=50",
            "The device limits the run, but the column is idle for 8.46 ms (7.0%), mostly because "
            "no slot is free; strategy.depth=2 would save 6%, strategy.columns=4 would save 74% "
            "(by the model with this run's stage times)",
        ),
    ],
)
def test_whole_sentences(request_: str, text: str) -> None:
    assert sentence(run(request_)) == text


def test_a_sweep_has_the_sentence_of_its_fastest_run() -> None:
    records = [run(f"strategy={name} workload.tiles=5 verify=all") for name in STRATEGIES[:3]]
    lines = [line for line in lines_below(records) if "limits" in line]
    assert lines == [
        "The device limits pooled d2 b1 c1: it executes 98.4% of the time; more depth gains "
        "nothing, strategy.columns=4 would save 59%"
    ]
    assert sum("limits" in line for line in lines_below(records[:1])) == 1
    assert not [line for line in lines_below(records[:1], explained=False) if "limits" in line]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("harness.report.run_lines.sentence", None)
        assert "a row is one timed pass" in run_note(records[0]), "a job of a sweep leaves it out"
    other = run("strategy=pooled workload=gelu workload.tiles=5 verify=all")
    second = replace(other, totals=other.totals)
    kinds = [*records, other, second]
    assert not [line for line in lines_below(kinds) if "limits" in line], "several are marked"


def test_the_table_of_curves() -> None:
    record = run("strategy=pipelined workload.tiles=3")
    sheet, what, mark = payoff_parts(payoffs_of(record))
    assert isinstance(sheet, Sheet)
    columns, texts = sheet.shown()
    assert [each.heading for each in columns] == [
        *("value", "depth ms", "/bound", "batch ms", "/bound", "columns ms", "/bound")
    ]
    assert [row[:3] for row in texts] == [
        ["1", "6.207", "1.054"],
        ["2", "* 5.889", "1.000"],
        ["3", "5.889", "1.000"],
    ]
    assert what == (
        "time of a pass by the model, with one knob changed; this run has depth=2, batch=1, "
        "columns=1"
    )
    assert mark == "* more saves less than 1%"
    assert payoff_parts(()) == []


@pytest.mark.parametrize(
    ("overrides", "limit", "text"),
    [
        # 512 B at 900 ms/MiB take 0.44 ms; gelu itself takes 8 us.
        (
            ["device.memory.channel_ns_per_mib=900_000_000"],
            "device: memory",
            "the memory, which host and device share, costs 83% of the time",
        ),
        # Each side is five times as slow beside the other.
        (
            ["device.exec_ns.gelu=100", "device.launch_ns=100", "device.completion_ns=100"]
            + [f"device.memory.{side}_slower_pct=400" for side in ("exec", "sync")],
            "host: read",
            "overlap gains nothing: host and device share the memory, which costs 29% of the time",
        ),
        ([], "host: launch", None),
    ],
    ids=["bandwidth", "both busy", "as measured"],
)
def test_what_the_memory_costs(overrides: list[str], limit: str, text: str | None) -> None:
    record = record_of_run(
        "device=phoenix_2026", "strategy=pipelined", "workload=gelu", "verify=off", *overrides
    )
    assert bound_by(record) == limit
    line = sentence(record)
    assert line is not None
    assert line.endswith(f"; {text}") if text else "memory" not in line
    changed = replace(record, kernel_hashes={"gelu": "another"})
    assert (memory_cost_of(record) is None, memory_cost_of(changed)) == (False, None)


def test_advice_does_not_come_from_the_profile_if_a_kernel_has_changed() -> None:
    record = record_of_run("strategy=pooled", "workload=gelu", "verify=off")
    variants = [
        variants_of(record),
        variants_of(replace(record, kernel_hashes={"gelu": "another"})),
    ]
    assert [each and each.by_stages for each in variants] == [False, True]
