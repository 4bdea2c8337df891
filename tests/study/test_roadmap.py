"""The roadmap tells the newest right record of each phase; a phase changes only what it allows."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import pytest
from support.process import Done, Shell, in_process
from support.store import filed, import_mlflow

from harness.commands.hydra_argv import both_accountings
from harness.commands.main import dispatch
from harness.config.compose import load
from harness.config.phase import KNOBS, Phase
from harness.config.presets import phase_settings, presets
from harness.errors import RequestError
from harness.measure.rtf import EncoderTime
from harness.measure.totals import Totals
from harness.models.whisper import ENCODERS
from harness.results.record import Record
from harness.results.rtf_gap import RtfGap, rtf_gap
from harness.study.roadmap import ACCOUNTINGS, PHASES, read

pytestmark = pytest.mark.slow


QUICK = ("workload.tiles=2", "measure.repeats=1", "measure.warmup=0")


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """In a folder for the whole file, with encoders of one layer."""
    import_mlflow()
    with pytest.MonkeyPatch.context() as monkeypatch, in_process(monkeypatch) as run:
        for name, encoder in list(ENCODERS.items()):
            monkeypatch.setitem(ENCODERS, name, replace(encoder, layers=1))
        monkeypatch.chdir(tmp_path_factory.mktemp("roadmap"))
        yield run


@pytest.fixture(scope="module")
def phases(shell: Shell) -> Done:
    return shell("-m", f"phase={','.join(PHASES)}", *QUICK)


def printed(capfd: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    capfd.readouterr()
    return dispatch(["roadmap", *arguments]), *capfd.readouterr()


def rows(capfd: pytest.CaptureFixture[str]) -> dict[str, dict[str, Any]]:
    code, out, err = printed(capfd, "tracking=off", "--json")
    assert (code, err) == (0, "")
    return {row["phase"]: row for row in json.loads(out)["rows"]}


def test_a_sweep_over_phases_runs_them_by_either_accounting(phases: Done) -> None:
    run = {(record["phase"], record["accounting"]["kind"]): record for record in phases.records}
    assert set(run) == set(product(PHASES, ACCOUNTINGS))
    assert set(phases.verdicts) == {"OK"}
    assert {key: record["label"] for key, record in run.items() if key[1] == "guide"} == {
        ("baseline", "guide"): "per_tile d1 b1 c1",
        ("dma", "guide"): "pooled d2 b8 c1",
        ("multicore", "guide"): "pooled d2 b8 c3",
        ("fusion", "guide"): "pooled d2 b8 c4",
        ("memory", "guide"): "pooled d2 b8 c4 p1 resident",
    }
    assert run["fusion", "guide"]["kernel"] == "attention_layernorm+matmul_gelu"
    assert run["fusion", "full"]["kernel"] == "whisper_base"


def test_each_figure_is_that_of_a_record(phases: Done, capfd: pytest.CaptureFixture[str]) -> None:
    found = rows(capfd)
    assert tuple(found) == PHASES
    assert {phase: tuple(row["guide_rtf"]) for phase, row in found.items()} == {
        "baseline": (16.2, 16.2),
        "dma": (26.9, 26.9),
        "multicore": (54, 80),
        "fusion": (81, 160),
        "memory": (89, 192),
    }
    for record, folder in zip(phases.records, phases.folders, strict=True):
        measured = found[record["phase"]][record["accounting"]["kind"]]
        assert measured["record"] == str(folder)
        assert measured["rtf"] == record["metrics"]["rtf/end_to_end"]
        assert (
            measured["ceiling"] == record["metrics"]["rtf/ceiling"] == pytest.approx(36.1, abs=0.05)
        )
        assert measured["speedup_needed"] == pytest.approx(220 / measured["rtf"], rel=1e-3)
    assert found["baseline"]["full"]["bottleneck"].startswith("both: ")
    assert found["dma"]["full"]["bottleneck"] == "device: matmul"


def test_what_is_printed_drawn_and_filed(phases: Done, capfd: pytest.CaptureFixture[str]) -> None:
    code, out, err = printed(capfd)
    assert (code, err) == (0, "")
    head, columns, *lines = out.splitlines()
    assert head.startswith("whisper_base on device=simulator: ")
    assert [line.split()[0] for line in lines[:5]] == list(PHASES)
    assert columns.split()[0] == "phase"
    assert "\n".join(lines[:5]) in Path("outputs/roadmap.txt").read_text()
    assert Path("outputs/roadmap.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    (run,) = [each for each in filed() if each.info.run_name == "roadmap"]
    artifacts = Path(run.info.artifact_uri.removeprefix("file://"))
    assert {path.name for path in artifacts.iterdir()} == {
        "roadmap.png",
        "roadmap.txt",
        "roadmap.json",
    }
    measured = rows(capfd)
    assert run.data.metrics == {
        f"rtf/{phase}_{kind}": measured[phase][kind]["rtf"]
        for phase, kind in product(PHASES, ACCOUNTINGS)
    }


def test_a_roadmap_without_its_picture(
    phases: Done, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def save(_: object) -> Path:
        raise ImportError("libpng16.so: no such file")

    monkeypatch.setattr("harness.commands.roadmap.save", save)
    code, out, err = printed(capfd, "tracking=off")
    assert code == 0
    assert "written: outputs/roadmap.txt\nwritten: outputs/roadmap.json\n" in out
    assert err == (
        "harness: outputs/roadmap.png: cannot be drawn (libpng16.so: no such file); everything "
        "else is stored\n"
    )


def test_the_newest_right_run_counts_and_others_are_reported(
    phases: Done, shell: Shell, capfd: pytest.CaptureFixture[str]
) -> None:
    before = rows(capfd)
    chosen = ("phase=dma", "workload.accounting=guide", "tracking=off")
    newer = shell(*chosen, "workload.tiles=3", "measure.repeats=2", "verify=off")
    failed = shell(*chosen, *QUICK, "device.faults.hang=[3]")
    other = shell(
        *chosen,
        *QUICK,
        "workload=whisper_tiny",
        "workload.accounting=full",
        "phase=baseline",
        "strategy=baseline",
    )
    assert (newer.code, failed.code, other.code) == (0, 1, 0)
    unreadable = Path("outputs/x/record.json")
    unreadable.parent.mkdir()
    unreadable.write_text("{")
    try:
        (newest,) = other.folders
        (newest / "record.json").rename(newest / "kept")
        found = rows(capfd)
        assert found["dma"]["guide"]["record"] == str(newer.folders[0])
        assert {phase: row for phase, row in found.items() if phase != "dma"} == {
            phase: row for phase, row in before.items() if phase != "dma"
        }
        out = printed(capfd, "tracking=off")[1]
        assert "left out: 1 records that cannot be read" in out
        assert (
            "other settings than the newest row, so not comparable with it: "
            "baseline (guide), " in out
        )
        assert "outputs not compared (verify=off): dma (guide)" in out
        (newest / "kept").rename(newest / "record.json")
        out = printed(capfd, "tracking=off")[1]
        assert out.startswith("whisper_tiny on device=simulator")
        assert "left out: runs of simulator whisper_base" in out
        assert "not run yet: baseline (guide), dma (guide)" in out
        (memory,) = [line for line in out.splitlines() if line.startswith("memory ")]
        assert memory.count("not run") == len(ACCOUNTINGS)
        described = {each.name: each.description for each in presets("phase")}
        for phase in PHASES:
            goal = phase_settings(phase)["goal"]
            assert re.search(rf"^{phase} +{re.escape(goal)} ", out, re.MULTILINE)
            assert described[phase].lower() == goal.lower(), "harness list says the same"
    finally:
        unreadable.unlink()
        for folder in (*newer.folders, *other.folders):
            (folder / "record.json").unlink(missing_ok=True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--outputs", "elsewhere"], "--outputs=elsewhere: no such folder"),
        (["depth=3"], "depth=3: a roadmap reads stored runs"),
        (["tracking=offf"], "tracking=offf: no such option"),
        (["--jsn"], "--help"),
    ],
)
def test_a_roadmap_that_cannot_be(
    capfd: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    code, out, err = printed(capfd, *arguments)
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert said in err


@pytest.mark.parametrize(
    ("arguments", "both"),
    [
        ("-m phase=baseline,dma", True),
        ("--multirun phase=dma,memory depth=3 workload.tiles=4", True),
        ("-m phase=dma", False),
        ("phase=baseline,dma", False),
        ("-m phase=free,dma", False),
        ("-m phase=baseline,dma workload=whisper_tiny", False),
        ("-m phase=baseline,dma workload.accounting=full", False),
        ("-m phase=baseline,dma workload.layer=0", False),
        ("-m phase=baseline,dma workload.matmul=matmul_64", False),
    ],
)
def test_a_sweep_over_phases_has_both_accountings_unless_one_is_chosen(
    arguments: str, both: bool
) -> None:
    assert bool(both_accountings(arguments.split())) is both


def test_a_record_that_lacks_something_is_left_out(phases: Done, tmp_path: Path) -> None:
    raw = phases.records[0]
    lacking = [
        {**raw, "config": {}},
        {**raw, "totals": {"clock": "virtual"}},
        {**raw, "accounting": {}},
    ]
    for number, record in enumerate([raw, *lacking]):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "record.json").write_text(json.dumps(record))
    found, unreadable = read(tmp_path)
    assert [record.name for record, _ in found] == [raw["name"]]
    assert unreadable == len(lacking)


def test_nothing_was_run(in_folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    Path("outputs").mkdir()
    assert printed(capfd) == (
        2,
        "",
        "harness: no phase has been run here; "
        "run python -m harness -m phase=baseline,dma,multicore,fusion,memory\n",
    )


@pytest.mark.parametrize(
    ("phase", "override"),
    [
        ("baseline", "strategy.buffers=pooled"),
        ("baseline", "strategy.depth=2"),
        ("dma", "strategy.columns=2"),
        ("multicore", "workload.fused=true"),
        ("fusion", "strategy.prefetch=1"),
        ("fusion", "strategy.resident=true"),
    ],
)
def test_a_phase_refuses_what_a_later_one_is_for(phase: str, override: str) -> None:
    with pytest.raises(
        RequestError, match=rf"^{override}: phase={phase} .*; use a later phase, or phase=free$"
    ):
        load(f"phase={phase}", override)
    load(f"phase={PHASES[PHASES.index(phase) + 1]}", override)
    load("phase=free", "workload=whisper_base", override)


def test_what_a_phase_allows_every_later_one_does() -> None:
    allowed = [set(load(f"phase={phase}").phase.allows) for phase in PHASES]
    assert all(before < after for before, after in pairwise(allowed))
    assert allowed[-1] == set(KNOBS) == set(Phase("free").allows)


TOTALS = Totals(
    "virtual",
    1,
    10,
    100,
    0,
    20,
    15,
    60,
    5,
    exec_ns=55,
    bound_ns=90,
    host_bound_ns=40,
    device_bound_ns=90,
)


def stands(
    preprocessing_s: float, host_s: float, device_s: float, overlaps: bool = False, **totals: Any
) -> RtfGap:
    time = EncoderTime(preprocessing_s, host_s, device_s, overlaps)
    return RtfGap(220.0, time, replace(TOTALS, **totals), "matmul")


@pytest.mark.parametrize(
    ("parts", "overlaps", "further", "alone"),
    [
        ((0.25, 0.25, 1.0), False, 1.5, (None, None, 2.0)),  # the device in 0.5 s
        ((0.5, 0.5, 1.0), False, 2.0, (None, None, None)),
        ((0.9, 0.2, 0.1), False, 1.2, (0.9 / 0.7, None, None)),
        ((0.9, 0.2, 0.1), True, 1.1, (0.9 / 0.8, 2.0, None)),
        ((0.2, 0.2, 0.3), True, 0.5, (1.0, 1.0, 1.0)),
    ],
)
def test_what_would_reach_the_target(
    parts: tuple[float, float, float],
    overlaps: bool,
    further: float,
    alone: tuple[float | None, ...],
) -> None:
    """220 s of audio in 1 s. Overlapped, the host is at work while it would wait for the device."""
    found = stands(*parts, overlaps)
    assert found.speedup_needed == pytest.approx(further)
    if further > 1:
        for part, wanted in zip(("preprocessing_s", "host_s", "device_s"), alone, strict=True):
            factor = found.alone(part)
            assert factor == (None if wanted is None else pytest.approx(wanted)), part
            if factor:
                reached = replace(found.time, **{part: getattr(found.time, part) / factor})
                assert reached.whole_s == pytest.approx(1.0)
    assert (found.remedies() == ["220x is reached"]) == (further <= 1)


def test_what_the_lines_say() -> None:
    assert stands(0.25, 0.25, 1.0).remedies() == [
        "takes 1,500.0 ms; 220x allows 1,000.0 ms",
        "parts: preprocessing 250.0 ms, host work of the encoder 250.0 ms, "
        "waiting for the device 1,000.0 ms",
        "to reach 220x: waiting for the device alone 2x as fast or everything 1.5x as fast",
    ]
    *_, last = stands(0.5, 0.5, 1.0).remedies()
    assert last == "to reach 220x: everything 2x as fast (no part alone is enough)"


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (stands(3.0, 1.0, 1.0), "preprocessing"),
        (stands(1.0, 1.0, 1.0), "device: matmul"),
        (stands(1.5, 1.0, 1.0, overlaps=True), "preprocessing"),
        (stands(1.0, 1.0, 1.0, host_bound_ns=91), "host: write"),
        (stands(1.0, 1.0, 1.0, bound_ns=50), "both: 2.00x bound"),
        (stands(1.0, 1.0, 1.0, bound_ns=50, open_ns=50), "device: matmul"),
        (stands(1.0, 1.0, 1.0, bound_ns=None), "device: matmul"),  # of hardware, waiting tells
        (stands(1.0, 1.0, 1.0, bound_ns=None, wait_ns=30, launch_ns=45), "host: launch"),
    ],
)
def test_what_binds(found: RtfGap, said: str) -> None:
    assert found.bottleneck == said


def test_an_older_record_has_no_standing(phases: Done) -> None:
    record = Record.load(phases.folders[0])
    assert rtf_gap(record)
    assert rtf_gap(replace(record, totals=None)) is None
    assert (
        rtf_gap(replace(record, accounting=replace(record.accounting, encoder_tiles=None))) is None
    )
