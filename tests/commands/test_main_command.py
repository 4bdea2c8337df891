"""The command from end to end: what it prints, what it answers, and what it leaves behind."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import fields, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from support.process import Shell, process, rows, run_folders, spans

from harness.config.device import Simulator
from harness.execution import prepare as preparation
from harness.inputs.generate import make_tiles
from harness.kernel import Array, KernelSpec, load_kernel
from harness.measure.metrics import METRIC_NAMES
from harness.results.record import SCHEMA_VERSION

pytestmark = pytest.mark.slow


# The commands that must work


@pytest.mark.parametrize(
    ("arguments", "label"),
    [
        ([], "pooled d2 b1 c1"),
        (["strategy=baseline"], "per_tile d1 b1 c1"),
        (["strategy=pipelined", "depth=3"], "pooled d3 b1 c1"),
        (["strategy=stacked", "strategy.batch=8", "depth=2"], "pooled d2 b8 c1"),
        (["strategy=pooled", "strategy.columns=4", "strategy.prefetch=1"], "pooled d1 b1 c4 p1"),
    ],
    ids=" ".join,
)
def test_a_run(shell: Shell, arguments: list[str], label: str) -> None:
    done = shell("tracking=off", *arguments)
    assert (done.code, done.err) == (0, "")
    (row,) = rows(done.out)
    assert row.startswith(f"{label} ")
    assert row.split()[-1] == "OK"
    assert (done.record["label"], done.record["verdict"], done.record["reason"]) == (
        label,
        "OK",
        "",
    )


def test_a_preset_of_ones_own_may_change(shell: Shell, in_folder: Path) -> None:
    """Between two commands of a process, as in a notebook."""
    preset = in_folder / "mine" / "strategy" / "mine.yaml"
    preset.parent.mkdir(parents=True)
    for depth in (2, 3):
        preset.write_text(f"buffers: pooled\ndepth: {depth}\n")
        done = shell("--config-dir", str(in_folder / "mine"), "strategy=mine", "tracking=off")
        assert done.record["knobs"]["depth"] == depth


def test_strategies_side_by_side(shell: Shell) -> None:
    done = shell("-m", "tracking=off", "strategy=baseline,pooled,pipelined,batch")
    assert (done.code, done.err) == (0, "")
    assert done.out.count("speed-up") == 1, "one table"
    totals = [record["metrics"]["time/total_ms"] for record in done.records]
    for row, record, total in zip(rows(done.out), done.records, totals, strict=True):
        assert row.startswith(f"{record['label']} ")
        assert row.split()[-2:] == [f"{totals[0] / total:.2f}x", "OK"]
    assert [record["preset"] for record in done.records] == [
        "baseline",
        "pooled",
        "pipelined",
        "batch",
    ]


def test_a_sweep_over_two_keys(shell: Shell) -> None:
    done = shell(
        "-m", "tracking=off", "strategy=pipelined", "depth=1,2,3,4", "workload.tiles=10,100"
    )
    assert done.code == 0
    assert [folder.name for folder in done.folders] == list("01234567")
    given = [
        (record["knobs"]["depth"], record["config"]["workload"]["tiles"]) for record in done.records
    ]
    assert given == [(depth, tiles) for depth in (1, 2, 3, 4) for tiles in (10, 100)]
    assert len(rows(done.out)) == 8
    for row, (depth, tiles) in zip(rows(done.out), given, strict=True):
        assert row.split()[1:5] == [f"d{depth}", "b1", "c1", str(tiles)], (
            "what was swept is a column of its own"
        )


def test_flags_may_stand_anywhere(in_folder: Path) -> None:
    done = process("tracking=off", "-m", "depth=1,2")
    assert (done.code, done.err) == (0, "")
    assert len(done.records) == 2


def test_no_hardware_here(shell: Shell) -> None:
    done = shell("tracking=off", "device=hardware")
    assert (done.code, done.out, len(done.err.splitlines())) == (2, "", 1)
    assert "pyxrt" in done.err


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (
            ["--help"],
            [
                "python -m harness strategy=pipelined depth=3",
                "strategy     baseline, batch, pipelined",
                "depth=2",
            ],
        ),
        (["--cfg", "job"], ["strategy:\n", "depth: ${depth}", "host_ms: guide"]),
        (["--cfg", "job", "--resolve", "depth=3"], ["  depth: 3\n"]),
    ],
    ids=" ".join,
)
def test_flags_that_run_nothing(in_folder: Path, flags: list[str], said: list[str]) -> None:
    done = process(*flags)
    assert (done.code, done.err) == (0, "")
    assert all(text in done.out for text in said), done.out
    assert not list(in_folder.iterdir())


# The published figures


@pytest.mark.parametrize(
    ("name", "metric", "published", "tolerance"),
    [
        ("guide_baseline", "time/tile_ms", 2.40, 0.02),
        ("guide_pooled", "time/tile_ms", 2.07, 0.01),
        ("guide_pipelined", "time/total_ms", 19.26, 0.005),
    ],
)
def test_published_figures(
    shell: Shell, name: str, metric: str, published: float, tolerance: float
) -> None:
    record = shell("tracking=off", f"experiment={name}").record
    assert record["metrics"][metric] == pytest.approx(published, rel=tolerance)
    assert record["verdict"] == "OK"


def test_without_warm_up_every_pass_is_cold(shell: Shell) -> None:
    cold = shell("tracking=off", "strategy=pooled", "measure.warmup=0", "measure.repeats=3").record[
        "samples"
    ]
    warm = shell("tracking=off", "strategy=pooled", "measure.warmup=1", "measure.repeats=3").record[
        "samples"
    ]
    assert len(cold["total_ns"]) == 3
    assert len({*cold["total_ns"]}) == len({*warm["total_ns"]}) == 1
    assert cold["total_ns"][0] - warm["total_ns"][0] == 3_300_000, "device.cold_start_ns"


# What a run leaves behind


def test_the_folder_of_a_run(shell: Shell) -> None:
    done = shell("tracking=off", "strategy=pooled", "measure.repeats=4")
    (folder,) = done.folders
    left = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    hydra = {".hydra/config.yaml", ".hydra/hydra.yaml", ".hydra/overrides.yaml"}
    assert left >= {*hydra, "record.json", "trace.json", "harness.log"}
    assert not [name for name in left if "record.json." in name or "trace.json." in name], (
        "a temporary file"
    )
    record = done.record
    assert record["schema_version"] == SCHEMA_VERSION
    assert set(record["metrics"]) == set(METRIC_NAMES)
    assert record["metrics"]["verify/tiles"] == 10 * (1 + 1 + 4), "verify, warm-up, timed passes"
    assert record["metrics"]["verify/mismatches"] == 0
    assert len(record["samples"]["total_ns"]) == 4
    assert (
        record["samples"]["total_ns"][record["timed_pass"]]
        == record["metrics"]["time/total_ms"] * 1e6
    )
    assert record["overrides"] == ["tracking=off", "strategy=pooled", "measure.repeats=4"]
    assert "OK" in (folder / "harness.log").read_text()


def test_the_configurations_hash(shell: Shell) -> None:
    def hashed(*arguments: str) -> str:
        return str(shell("tracking=off", "measure.repeats=1", *arguments).record["config_hash"])

    first = hashed()
    assert hashed() == first
    assert hashed("tracking.experiment=another") == first, "where a run is filed does not change it"
    changed = {
        hashed(knob)
        for knob in ("depth=3", "seed=1", "workload.tiles=11", "device.launch_ns=1", "verify=off")
    }
    assert len(changed - {first}) == 5


def test_runs_of_one_second_have_folders_of_their_own(shell: Shell) -> None:
    for number in range(1, 4):
        shell("tracking=off", "workload.tiles=1", "measure.repeats=1")
        assert len(run_folders()) == number


@pytest.mark.parametrize(
    "flags", [["hydra.run.dir=outputs/a/mine"], ["-m", "hydra.sweep.dir=outputs/a", "seed=0"]]
)
def test_a_record_is_never_written_over(shell: Shell, flags: list[str]) -> None:
    first = shell("tracking=off", "workload.tiles=3", *flags)
    (record,) = Path("outputs/a").rglob("record.json")
    before = record.read_bytes()
    second = shell("tracking=off", "workload.tiles=4", *flags)
    assert record.read_bytes() == before
    assert (first.code, second.code) == (0, 2)
    assert "record.json" in second.err


@pytest.mark.parametrize(
    ("arguments", "submissions", "columns", "loads"),
    [
        (["strategy=pooled"], 10, 1, 0),
        (["strategy=pipelined", "depth=3", "strategy.columns=4"], 10, 4, 0),
        (["strategy=batch", "measure.warmup=0"], 3, 1, 1),
    ],
    ids=["serial", "columns", "cold batches"],
)
def test_the_trace(
    shell: Shell, arguments: list[str], submissions: int, columns: int, loads: int
) -> None:
    done = shell("tracking=off", *arguments)
    events = done.trace["traceEvents"]
    complete, metadata = ([event for event in events if event["ph"] == kind] for kind in "XM")
    assert len(complete) == 4 * submissions + 10 + loads
    assert all(
        len(spans(done.trace, stage)) == submissions
        for stage in ("write", "launch", "wait", "read")
    )
    names = {
        (event["pid"], event["tid"]): event["args"]["name"]
        for event in metadata
        if event["name"] == "thread_name"
    }
    tracks = {(event["pid"], event["tid"]) for event in complete}
    assert sorted(names.values()) == [
        *(f"column {column}" for column in range(columns)),
        "host thread",
    ]
    assert tracks == set(names)
    for track in tracks:
        on_track = sorted(
            (event["ts"], event["dur"])
            for event in complete
            if (event["pid"], event["tid"]) == track
        )
        assert all(ts + dur <= later + 1e-6 for (ts, dur), (later, _) in pairwise(on_track)), (
            "no overlap"
        )
    last_us = max(event["ts"] + event["dur"] for event in complete)
    assert min(event["ts"] for event in complete) == 0
    assert last_us / 1000 == pytest.approx(done.record["metrics"]["time/total_ms"], abs=1e-6)


@pytest.mark.parametrize(
    "arguments",
    [
        ["strategy=baseline"],
        ["strategy=pipelined", "depth=3"],
        ["strategy=stacked", "strategy.batch=3"],
        ["strategy=pooled", "strategy.columns=4", "device.exec_ns.attention=300_000"],
        ["strategy=pooled", "measure.warmup=0"],
    ],
    ids=" ".join,
)
def test_metrics_follow_from_the_trace(shell: Shell, arguments: list[str]) -> None:
    done = shell("tracking=off", *arguments)
    trace, metrics = done.trace, done.record["metrics"]

    def total_ms(*stages: str) -> float:
        return (
            sum(span["args"]["end_ns"] - span["args"]["start_ns"] for span in spans(trace, *stages))
            / 1e6
        )

    everything = spans(trace, "alloc", "write", "launch", "wait", "read", "load", "exec")
    begin_ns = min(span["args"]["start_ns"] for span in everything)
    makespan_ms = (max(span["args"]["end_ns"] for span in everything) - begin_ns) / 1e6
    columns = {span["tid"]: [] for span in spans(trace, "exec")}
    for span in sorted(spans(trace, "load", "exec"), key=lambda span: span["args"]["start_ns"]):
        columns[span["tid"]].append(span["args"])
    gaps_ns = [
        later["start_ns"] - earlier["end_ns"]
        for work in columns.values()
        for earlier, later in pairwise(work)
        if later["start_ns"] > earlier["end_ns"]
    ]
    expected = {
        "time/total_ms": makespan_ms,
        "time/tile_ms": makespan_ms / 10,
        "time/exec_ms": total_ms("exec") / 10,
        **{
            f"time/{stage}_ms": total_ms(stage) / 10
            for stage in ("alloc", "write", "launch", "wait", "read")
        },
        "stall/count": len(gaps_ns),
        "stall/total_ms": sum(gaps_ns) / 1e6,
        "dma/overhead_pct": 100 * total_ms("write", "read") / makespan_ms,
        "device/utilisation": total_ms("exec") / (makespan_ms * len(columns)),
        "throughput/tiles_per_s": 10 / makespan_ms * 1e3,
        "rtf/end_to_end": 11 / (0.3047 + makespan_ms / 10 * 140.625 / 1e3),
    }
    assert {name: metrics[name] for name in expected} == pytest.approx(
        expected, rel=1e-9, abs=1e-12
    )
    assert metrics["bound/ratio"] >= 1


# Keys


@pytest.mark.parametrize(
    "arguments",
    [
        ["strategy=baseline", "depth=3"],
        ["-m", "strategy=baseline,pooled", "depth=3"],
        ["-m", "strategy=baseline", "depth=3,4"],
    ],
    ids=" ".join,
)
def test_a_depth_without_effect_is_reported_once(shell: Shell, arguments: list[str]) -> None:
    done = shell(*arguments, "tracking=off")
    assert done.code == 0
    assert done.err.count("strategy=baseline does not use depth=3: its own depth is 1; ") == 1
    assert "strategy=pipelined" in done.err


def test_a_depth_with_effect_is_not_spoken_of(shell: Shell) -> None:
    assert shell("tracking=off", "strategy=stacked", "depth=3").err == ""
    assert shell("tracking=off", "strategy=baseline", "depth=1").err == ""


def test_a_preset_that_does_not_exist_is_a_wrong_request_when_printed_too(shell: Shell) -> None:
    done = shell("strategy=nope", "--cfg", "job")
    assert done.code == 2
    (line,) = done.err.splitlines()
    assert line.startswith("harness: strategy=nope: ")


def test_of_several_values_of_a_key_the_last_counts(shell: Shell) -> None:
    done = shell("tracking=off", "depth=3", "depth=1", "++depth=2", "seed=1", "seed=1")
    assert done.record["label"] == "pooled d2 b1 c1"


def test_knobs_beyond_the_tiles_of_a_pass(shell: Shell) -> None:
    beyond = shell("tracking=off", "workload.tiles=7", "strategy.batch=8", "strategy.depth=2")
    assert beyond.err.splitlines() == [
        "harness: strategy.batch=8: at most 7 per submission, because a pass has no more tiles",
        "harness: strategy.depth=2: at most 1 in flight per column, because a pass has no more "
        "submissions",
    ]
    few = ("tracking=off", "workload.tiles=2")
    assert shell(*few, "depth=3").err == (
        "harness: depth=3: at most 2 in flight per column, because a pass has no more submissions\n"
    )
    assert shell(*few, "strategy.prefetch=3").err == (
        "harness: strategy.prefetch=3: at most 2 staged ahead per column, because a pass has no "
        "more submissions\n"
    )
    assert shell(*few, "strategy=stacked").err == "", "values of a preset"
    arguments = ("workload.tiles=7", "strategy.batch=2", "strategy.depth=2", "strategy.columns=2")
    assert shell("tracking=off", *arguments).err == ""


def test_verify_off_compares_nothing_and_says_so(shell: Shell) -> None:
    off, on, device = (
        shell("tracking=off", f"verify={choice}").record for choice in ("off", "all", "device")
    )
    assert (off["metrics"]["verify/tiles"], off["config"]["verify"], off["verdict"]) == (
        0,
        "off",
        "OK",
    )
    assert on["metrics"]["verify/tiles"] > 0
    assert device["metrics"]["verify/tiles"] == on["metrics"]["verify/tiles"]
    assert [each["verification"]["oracle"] for each in (off, on, device)] == [
        "off",
        "reference",
        "device",
    ]
    times_ns = [each["samples"]["total_ns"] for each in (off, on, device)]
    assert times_ns[0] == times_ns[1] == times_ns[2], "verification is outside the timed passes"


@pytest.mark.parametrize("strategy", ["baseline", "stacked"])
def test_one_tile(shell: Shell, strategy: str) -> None:
    done = shell("tracking=off", f"strategy={strategy}", "workload.tiles=1")
    assert (done.code, done.err, done.record["verdict"]) == (0, "", "OK")
    metrics = done.record["metrics"]
    assert metrics["time/total_ms"] == metrics["time/tile_ms"] > 0
    assert len(spans(done.trace, "exec")) == 1


def test_a_device_that_costs_nothing(shell: Shell) -> None:
    no_costs = {"exec_ns", "heap_mib", "poll_ns"}
    names = {field.name for field in fields(Simulator) if field.name.endswith(("_ns", "_mib"))}
    costs = sorted(names - no_costs)
    free = [f"device.{name}=0" for name in [*costs, "exec_ns.attention"]]
    done = shell("tracking=off", *free)
    assert (done.code, done.err, done.record["verdict"]) == (0, "", "OK")
    assert done.record["metrics"]["time/total_ms"] == 0
    assert (
        done.record["metrics"]["rtf/end_to_end"] is None
        or done.record["metrics"]["rtf/end_to_end"] > 0
    )


def test_random_tiles(shell: Shell) -> None:
    record = shell("tracking=off", "workload.source=random", "seed=3").record
    assert (record["verdict"], record["accounting"]["audio_s"]) == ("OK", 11)


def test_tiles_of_ones_own_audio(shell: Shell) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 32_000)
    soundfile.write("clip.wav", noise, 16_000)
    record = shell("tracking=off", "workload.source=clip.wav").record
    assert (record["verdict"], record["accounting"]["audio_s"]) == ("OK", 2)
    assert record["config"]["workload"]["source"] == "clip.wav"


def test_measured_host_time(shell: Shell) -> None:
    given, measured = (
        shell("tracking=off", *override).record for override in ([], ["workload.host_ms=measured"])
    )
    assert given["accounting"]["host_ms"] == 304.7
    accounting = measured["accounting"]
    assert accounting["host_ms"] == accounting["measured_host_ms"] > 0
    assert measured["metrics"]["rtf/end_to_end"] != given["metrics"]["rtf/end_to_end"]
    assert measured["metrics"]["rtf/ceiling"] == pytest.approx(11 / accounting["host_ms"] * 1e3)


# When the device is wrong or fails


@pytest.fixture
def built_wrong(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., Array]], None]:
    """Have every device execute another arithmetic than the specification's, from now on."""

    def build(arithmetic: Callable[..., Array]) -> None:
        def wrong_world(device: Any, spec: KernelSpec, **options: Any) -> Any:
            return open_right(device, replace(spec, reference=arithmetic), **options)

        open_right = preparation.open_backend
        monkeypatch.setattr(preparation, "open_backend", wrong_world)

    return build


SPEC = load_kernel("attention")
SPEECH = make_tiles("attention", 10, "speech", 0, now_ns=lambda: 0, most=1021)
Q7 = SPEC.inputs[0].unpack(SPEECH.packed[0][7:8])[0]


def wrong_in_tile_7(q: Array, k: Array, v: Array) -> Array:
    """Attention, but for one element of one tile."""
    out = SPEC.reference(q, k, v)
    out[(q == Q7).all(axis=(1, 2)), 3, 5] ^= 1
    return out


def check_wrong(record: dict[str, Any], where: str) -> None:
    right = int(SPEC.output.unpack(SPEECH.expected[0])[0][7, 3, 5])
    assert record["verdict"] == "WRONG"
    assert record["reason"].startswith(f"tile 7: out[3, 5] is {right ^ 1}, expected {right}; ")
    assert where in record["reason"]
    kept = {name for name, value in record["metrics"].items() if value is not None}
    assert kept <= {"verify/tiles", "verify/mismatches", "hazard/count", "rtf/ceiling"}, (
        "nothing wrong is timed"
    )
    assert record["metrics"]["verify/mismatches"] == 1
    assert record["samples"]["total_ns"] == []


@pytest.mark.parametrize("strategy", ["baseline", "pipelined", "stacked"])
def test_a_wrong_kernel(shell: Shell, built_wrong: Callable[..., None], strategy: str) -> None:
    built_wrong(wrong_in_tile_7)
    done = shell("tracking=off", f"strategy={strategy}")
    assert done.code == 1
    check_wrong(done.record, "1 of 10 tiles wrong")
    assert rows(done.out)[0].split()[-1] == "WRONG"
    assert done.record["reason"] in " ".join(done.out.split())
    assert not (done.folders[0] / "trace.json").exists()


def test_a_kernel_that_goes_wrong_after_its_verification(
    shell: Shell, built_wrong: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    # A device computes every time; the simulator does not for inputs that it knows.
    monkeypatch.setattr("harness.sim.arithmetic.MOST_BYTES", 0)
    executed = 0

    def tired(q: Array, k: Array, v: Array) -> Array:
        nonlocal executed
        executed += len(q)
        return (wrong_in_tile_7 if executed > 30 else SPEC.reference)(q, k, v)

    built_wrong(tired)  # passes of ten tiles: verified, warm-up, first timed
    done = shell("tracking=off")
    assert done.code == 1
    check_wrong(done.record, "in timed pass 2")


def test_a_sweep_goes_on_past_a_wrong_run(shell: Shell, built_wrong: Callable[..., None]) -> None:
    built_wrong(wrong_in_tile_7)
    done = shell("-m", "tracking=off", "workload.tiles=5,10,6")
    assert done.code == 1
    assert done.verdicts == ["OK", "WRONG", "OK"]
    assert [row.split()[-1] for row in rows(done.out)] == ["OK", "WRONG", "OK"]
    assert "tile 7: out[3, 5]" in done.out


def test_a_wrong_baseline_is_no_baseline(shell: Shell, built_wrong: Callable[..., None]) -> None:
    worlds = 0

    def wrong_at_first(*tiles: Array) -> Array:
        nonlocal worlds
        worlds += 1
        return (wrong_in_tile_7 if worlds <= 10 else SPEC.reference)(*tiles)

    built_wrong(wrong_at_first)
    done = shell("-m", "tracking=off", "strategy=baseline,pooled")
    assert done.verdicts == ["WRONG", "OK"]
    assert "speed-up" not in done.out


def test_a_device_that_is_too_slow(shell: Shell) -> None:
    done = shell(
        "-m", "tracking=off", "device.exec_ns.attention=5_000_000", "device.timeout_ms=1,5000"
    )
    assert done.code == 1
    assert done.verdicts == ["FAILED", "OK"]
    failed, right = done.records
    assert "device.timeout_ms=1" in failed["reason"]
    assert failed["metrics"]["time/total_ms"] is None
    assert right["metrics"]["time/exec_ms"] == 5
    assert [row.split()[-1] for row in rows(done.out)] == ["FAILED", "OK"]
    assert failed["reason"] in " ".join(done.out.split())


def test_an_argparse_that_reads_help_texts_as_they_are_added(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Python 3.14's does, where Hydra's of one flag is no text."""
    container: Any = argparse._ActionsContainer
    added = container.add_argument

    def check_help(parser: Any, action: argparse.Action) -> None:
        str.__contains__(action.help or "", "%")

    def add_argument(parser: Any, *flags: Any, **options: Any) -> argparse.Action:
        action: argparse.Action = added(parser, *flags, **options)
        parser._check_help(action)
        return action

    monkeypatch.setattr(container, "_check_help", check_help, raising=False)
    monkeypatch.setattr(container, "add_argument", add_argument)
    done = shell("tracking=off", "workload.tiles=5")
    assert (done.code, done.err) == (0, "")
    assert container._check_help is check_help, "others' help is looked at"
