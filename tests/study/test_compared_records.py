"""Which runs are compared, which rules forbid it, and what differs between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from support.record_samples import ENVIRONMENT
from support.timed_runs import TIMES, run

from harness.device.host.state import MachineState
from harness.errors import RequestError
from harness.execution.outcome import MachineStates, Verdict
from harness.measure.comparison import Change, Limits
from harness.report.comparison import comparison_parts
from harness.results.record import Record
from harness.study.comparison import (
    Row,
    interleaved,
    judge,
    left_out,
    matched,
    refuse_mixture,
    within,
)
from harness.study.differences import differences


def side(ratio: float, first: int, **values: Any) -> tuple[Record, ...]:
    return tuple(run(ratio * time, first + 2 * index, **values) for index, time in enumerate(TIMES))


ROW = Row("pipelined", side(1, 0), side(0.9, 1))


def verdict(row: Row) -> tuple[Change, str]:
    comparison = judge(row, Limits()).comparison
    return comparison.change, comparison.reason


def broken(records: Sequence[Record], **changes: Any) -> tuple[Record, ...]:
    return (*records[:-1], replace(records[-1], **changes))


def test_a_verdict_from_records() -> None:
    result = judge(ROW, Limits())
    assert result.comparison.change is Change.FASTER
    assert result.comparison.ratio == pytest.approx(0.9)
    assert (result.unit, result.reference_ms, result.candidate_ms) == (
        "time/tile_ms",
        100.25,
        90.225,
    )
    assert interleaved(ROW)
    assert not interleaved(Row("b", side(1, 0), side(1, 20)))


@pytest.mark.parametrize("wrong", [each for each in Verdict if each is not Verdict.OK])
def test_one_wrong_run_makes_it_invalid(wrong: Verdict) -> None:
    change, reason = verdict(replace(ROW, candidate=broken(ROW.candidate, verdict=wrong)))
    assert change is Change.INVALID
    assert f"1 {wrong.value}" in reason


def test_a_machine_that_changed_makes_it_invalid() -> None:
    def at(mhz: int, driver: str = "1") -> MachineStates:
        return MachineStates(MachineState(clocks_mhz={"h": mhz}, driver=driver), None)

    def row(old: MachineStates, new: MachineStates, **values: Any) -> Row:
        return replace(
            ROW,
            reference=tuple(replace(each, machine=old) for each in ROW.reference),
            candidate=tuple(replace(each, machine=new) for each in side(0.9, 1, **values)),
        )

    assert verdict(row(at(800), at(810)))[0] is Change.FASTER
    change, reason = verdict(row(at(800), at(400)))
    assert change is Change.INVALID
    assert reason == "the machine changed between the runs of a pair: h: 800 -> 400 MHz"
    # A new driver may be what is compared, and so may a mode that the request asks for.
    assert verdict(row(at(800), at(800, "2")))[0] is Change.FASTER
    assert verdict(row(at(800), at(400), device__power_mode="powersaver"))[0] is Change.FASTER


def test_a_run_without_a_time_makes_it_invalid() -> None:
    metrics = {**ROW.candidate[0].metrics, "time/tile_ms": None, "time/total_ms": None}
    change, reason = verdict(replace(ROW, candidate=broken(ROW.candidate, metrics=metrics)))
    assert (change, reason) == (Change.INVALID, "a run has no time")
    assert verdict(Row("none", (), ()))[0] is Change.INVALID


NOISE = {"device__clock": "virtual", "device__noise": {"enabled": True, "seed": 0}}


def with_noise(ratio: float, seeds: Sequence[int], enabled: bool = True) -> tuple[Record, ...]:
    return tuple(
        run(ratio * time, device__clock="virtual", device__noise={"enabled": enabled, "seed": seed})
        for time, seed in zip(TIMES, seeds, strict=True)
    )


def test_repeated_noise_is_one_sample() -> None:
    row = Row("b", with_noise(1, range(6)), with_noise(0.9, range(10, 16)))
    assert verdict(row)[0] is Change.FASTER
    change, reason = verdict(replace(row, candidate=with_noise(0.9, [1, 2, 3, 4, 5, 5])))
    assert change is Change.INVALID
    assert reason == "several runs have device.noise.seed=5: they repeat one sample"
    quiet = Row("b", with_noise(1, [0] * 6, False), with_noise(0.9, [0] * 6, False))
    assert verdict(quiet)[0] is Change.FASTER


def test_exact_times_need_no_pairs() -> None:
    row = Row("b", with_noise(1, range(6), False)[:1], with_noise(0.9, range(6), False)[:1])
    result = judge(row, Limits()).comparison
    assert (result.change, result.exact) == (Change.FASTER, True)
    noisy = Row("b", with_noise(1, range(6))[:1], with_noise(0.9, range(6))[:1])
    assert verdict(noisy) == (Change.UNDECIDED, "1 of at least 5 pairs")
    assert verdict(Row("b", (run(),), (run(90),)))[0] is Change.UNDECIDED, "real time"


@pytest.mark.parametrize(
    ("other", "names"),
    [
        (replace(run(), device="hardware"), "simulator and hardware"),
        (run(device__clock="virtual"), "simulator and simulator in virtual time"),
        (run(device__clock="wall"), "simulator and simulator in wall time"),
    ],
)
def test_kinds_of_devices_are_not_mixed(other: Record, names: str) -> None:
    refuse_mixture([run(), run()])
    with pytest.raises(RequestError, match=f"^{names}: their times have no common ratio"):
        refuse_mixture([run(), other])


def test_settings_that_belong_together() -> None:
    def sweep(launch: int, first: int, *depths: int) -> list[Record]:
        return [
            run(100, first + place, strategy__depth=depth, device__launch_ns=launch)
            for place, depth in enumerate(depths)
        ]

    old, new = sweep(1, 0, 1, 2, 3), sweep(2, 10, 3, 2, 4)
    rows = matched(old, new)
    depths = [
        [each.config["strategy"]["depth"] for each in (*row.reference, *row.candidate)]
        for row in rows
    ]
    assert depths == [[2, 2], [3, 3]]
    count = len([*old, *new])
    assert left_out(rows, [*old, *new]) == [f"2 of {count} runs have no partner, and are left out"]
    (alone,) = matched(sweep(1, 0, 1), sweep(2, 10, 4))
    assert len(alone.records) == 2, "one setting on each side needs no agreement"
    with pytest.raises(RequestError, match=r"they vary strategy\.depth"):
        matched(sweep(1, 0, 1, 2), sweep(1, 10, 3, 4))


def test_the_first_setting_of_a_sweep_is_the_reference() -> None:
    records = [run(100, number, strategy__depth=1 + number % 3) for number in range(8)]
    rows = within(records)
    assert [len(row.reference) for row in rows] == [3, 2]
    assert all(each.config["strategy"]["depth"] == 1 for row in rows for each in row.reference)
    with pytest.raises(RequestError, match="all 2 runs have one setting"):
        within([run(), run()])


def test_changes_of_settings_with_one_name_have_the_knobs_too() -> None:
    records = [
        replace(run(100, depth, strategy__depth=depth), label=f"pooled d{depth}")
        for depth in (1, 2, 3)
    ]
    results = [judge(row, Limits()) for row in within(records)]
    lines = comparison_parts(results, Limits())
    assert lines[-2:] == [
        f"changes of baseline pooled d{depth}: configuration: strategy.depth 1 -> {depth}"
        for depth in (2, 3)
    ]


def test_runs_that_repeat_a_setting_of_another_strategy_are_reported() -> None:
    knobs = [1, 2, 3, 2]
    records = [run(100, place, strategy__depth=depth) for place, depth in enumerate(knobs)]
    rows = within(records)
    assert left_out(rows, records) == [
        "1 of 4 runs are left out: another run has the same setting (the name of a strategy is "
        "not part of it), and the other side has fewer runs"
    ]
    assert left_out(rows, records[:3]) == []


def test_noise_seeds_and_tracking_do_not_make_another_setting() -> None:
    old = [*with_noise(1, range(6))]
    new = [run(90, 9, **{**NOISE, "tracking__kind": "local", "device__noise__seed": 7})]
    (row,) = matched(old, new)
    assert len(row.reference) == len(row.candidate) == 1


def test_runs_that_differ_only_in_seeds_are_repeats() -> None:
    def sweep(first: int) -> list[Record]:
        return [
            run(100, first + place, strategy__depth=1 + place // 3, seed=first + place % 3)
            for place in range(6)
        ]

    (row,) = within(sweep(0))
    assert (len(row.reference), len(row.candidate), row.name) == (3, 3, "baseline")
    assert [len(row.reference) for row in matched(sweep(0), sweep(10))] == [3, 3]
    assert differences(row.reference, row.reference).lines() == []
    assert differences(sweep(0)[:1], sweep(10)[:1]).lines() == ["configuration: seed 0 -> 10"]
    noisy = [*with_noise(1, range(6)), *with_noise(0.9, range(6, 12))]
    with pytest.raises(RequestError, match=r"all 12 runs have one setting \(seeds do not count\)"):
        within(noisy)


def test_pairs_that_never_ended_differ_in_nothing() -> None:
    assert differences([], []).lines() == []


def test_what_differs() -> None:
    old = run(workload__fused=False)
    new = run(workload__fused=True, device__new=1, tracking__kind="local")
    assert differences([old], [old]).lines() == []
    assert differences([old], [new]).lines() == [
        "configuration: workload.fused false -> true, device.new unknown -> 1"
    ]
    environment = replace(
        ENVIRONMENT, git_commit="0123456789abcdef" * 2 + "01234567", host="b", command=("x",)
    )
    machine = MachineStates(MachineState(driver="2"), None)
    moved = replace(old, environment=environment, machine=machine)
    assert differences([old], [moved]).lines() == [
        "code: git_commit unknown -> 0123456789ab",
        "environment: host host -> b, machine.driver unknown -> 2",
    ]
    both = differences([old], [old, moved]).lines()
    assert "environment: host host -> host / b" in both[1]


def test_changes_that_only_the_key_of_the_run_shows() -> None:
    old, new = replace(run(), run_key="a"), replace(run(), run_key="b")
    (line,) = differences([old], [new]).lines()
    assert line == "code: files of the harness, of the kernels or of the device"
    assert differences([old], [old]).lines() == []
