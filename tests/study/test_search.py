"""A search finds what running every setting finds, with a quarter of the runs or fewer."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from harness.config.compose import load
from harness.config.strategy import Strategy
from harness.errors import RequestError
from harness.execution.experiment import Experiment
from harness.measure.metrics import METRIC_NAMES
from harness.study.space import Base, Candidate, candidates, checked_values, default_values
from harness.study.tune import Objective, Result, Search, objective_of

pytest.importorskip("optuna")

QUICK = ("tracking=off", "verify=off", "measure.repeats=1", "measure.warmup=1")
KNOBS = {
    "depth": [1, 2, 3, 4],
    "strategy.batch": [1, 2, 3, 4],
    "strategy.columns": [1, 2, 3, 4],
    "strategy.prefetch": [0, 1],
}
TILES = 16
TIME = objective_of("time/total_ms")


@pytest.fixture(scope="module")
def space() -> list[Candidate]:
    config = load(*QUICK, "workload=gelu", f"workload.tiles={TILES}", "workload.source=random")
    return candidates([Base(config, {}, KNOBS)])


@pytest.fixture(scope="module")
def times_ns(space: list[Candidate]) -> dict[str, int]:
    """What an exhaustive sweep measures."""
    outcomes = {each.key: Experiment(each.config).run().totals for each in space}
    return {key: totals.makespan_ns for key, totals in outcomes.items() if totals}


def result_of(candidate: Candidate, times_ns: Mapping[str, int]) -> Result:
    time_ns = times_ns[candidate.key]
    return Result(candidate, time_ns / 1e6, time_ns, "outputs/x")


def runs_until_best(search: Search, times_ns: Mapping[str, int], most: int = 1000) -> int:
    """Number of runs after which the search has the best setting of all."""
    best_ns = min(times_ns.values())
    for runs in range(1, most + 1):
        trial = search.ask()
        assert trial, "the search ended without the best setting"
        search.tell(trial, result_of(trial.candidate, times_ns))
        if search.best and search.best.makespan_ns == best_ns:
            return runs
    return most


def test_the_space_is_of_the_size_of_a_sweep(space: list[Candidate]) -> None:
    assert 60 <= len(space) <= 110


def test_the_bounds_lead_to_the_best_setting(
    space: list[Candidate], times_ns: dict[str, int], tmp_path: Path
) -> None:
    search = Search(space, TIME, tmp_path, "x")
    assert runs_until_best(search, times_ns) <= len(space) / 4
    while trial := search.ask():
        search.tell(trial, result_of(trial.candidate, times_ns))
    assert len(search.results) + len(search.excluded) == len(space)
    best_ns = min(times_ns.values())
    assert all(times_ns[each.key] >= best_ns for each in search.excluded)
    assert search.excluded, "the search need not run every setting"


def test_only_bounds_that_are_no_better_exclude(space: list[Candidate], tmp_path: Path) -> None:
    bounds_ns, passes_ns = (6, 5, 7, 8), (7, 10, 9, 8)
    four = [
        replace(each, bound_ns=bound_ns) for each, bound_ns in zip(space, bounds_ns, strict=False)
    ]
    times_ns = {each.key: time_ns for each, time_ns in zip(four, passes_ns, strict=True)}
    search, tried = Search(four, TIME, tmp_path, "x"), []
    while trial := search.ask():
        tried.append(trial.candidate)
        search.tell(trial, result_of(trial.candidate, times_ns))
    assert tried == [four[1], four[0]]
    assert search.excluded == four[2:], "one could only be as good"


@pytest.mark.parametrize("seed", range(4))
def test_without_bounds_the_sampler_finds_it(
    space: list[Candidate], times_ns: dict[str, int], tmp_path: Path, seed: int
) -> None:
    unknown = [replace(each, bound_ns=None) for each in space]
    search = Search(unknown, TIME, tmp_path, "x", seed)
    assert runs_until_best(search, times_ns, len(space)) <= len(space) / 4


def test_a_search_goes_on_where_it_stopped(
    space: list[Candidate], times_ns: dict[str, int], tmp_path: Path
) -> None:
    """Interrupted after each trial, with one that did not end, it tries what it would have."""
    unknown = [replace(each, bound_ns=None) for each in space]

    def tried(folder: Path, count: int, interrupted: bool) -> list[str]:
        search = Search(unknown, TIME, folder, "x", seed=1)
        for _ in range(count):
            if interrupted:
                search.ask()
                search = Search(unknown, TIME, folder, "x", seed=1)
            trial = search.ask()
            assert trial
            search.tell(trial, result_of(trial.candidate, times_ns))
        return list(search.results)

    whole = tried(tmp_path / "whole", 14, interrupted=False)
    assert len(set(whole)) == 14, "no setting twice"
    assert tried(tmp_path / "pieces", 14, interrupted=True) == whole
    assert not Search(unknown, TIME, tmp_path / "whole", "x", again=True).results
    assert not Search(unknown, TIME, tmp_path / "whole", "x").results, "the newest study counts"


def test_failed_settings_are_tried_again_by_the_next_process_only(
    space: list[Candidate], tmp_path: Path
) -> None:
    search = Search(space, TIME, tmp_path, "x")
    first = search.ask()
    assert first
    search.tell(first, None, "FAILED")
    second = search.ask()
    assert second
    assert second.candidate != first.candidate
    again = Search(space, TIME, tmp_path, "x").ask()
    assert again
    assert again.candidate == first.candidate


def test_of_equal_settings_the_smallest_is_the_best(space: list[Candidate], tmp_path: Path) -> None:
    search = Search(space[:3], objective_of("stall/count"), tmp_path, "x")
    while trial := search.ask():
        search.tell(trial, Result(trial.candidate, 0.0, 1, "x"))
    assert search.best
    assert search.best.candidate == space[0]
    assert space[0].config.strategy.columns == 1


def test_an_objective_without_a_bound_excludes_nothing(
    space: list[Candidate], times_ns: dict[str, int], tmp_path: Path
) -> None:
    search = Search(space, objective_of("device/utilisation"), tmp_path, "x")
    trial = search.ask()
    assert trial
    search.tell(trial, result_of(trial.candidate, times_ns))
    assert not search.excluded


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("rtf/encodr", "rtf/encodr: no such metric; did you mean rtf/encoder"),
        ("zzz", "docs/metrics.md lists them"),
        ("bound/total_ms", "has no better direction"),
        ("speedup/vs_baseline", "needs a baseline run; give time/tile_ms"),
    ],
)
def test_metrics_that_are_no_objective(name: str, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        objective_of(name)


def test_directions_are_those_of_the_metrics() -> None:
    assert objective_of("rtf/encoder") == Objective("rtf/encoder", maximise=True, of_time=True)
    assert not objective_of("time/tile_ms").maximise
    assert not objective_of("rtf/end_to_end", overlapping=True).of_time
    assert {"rtf/encoder", "time/tile_ms"} <= set(METRIC_NAMES)


def test_values_come_from_the_schema() -> None:
    config = load("tracking=off", "workload.tiles=20", "device.columns=3")
    values = {name: default_values(name, config) for name in vars(Strategy())}
    assert values == {
        "buffers": ["per_tile", "pooled"],
        "depth": [1, 2, 3, 4, 8, 16],
        "batch": [1, 2, 3, 4, 8, 16],
        "prefetch": [0, 1, 2, 3, 4, 8, 16],
        "columns": [1, 2, 3],
        "resident": [False, True],
    }


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("depth", 0, "strategy.depth=0: out of range"),
        ("depth", "x", "strategy.depth=x: not allowed; give a whole number"),
        ("depth", True, "strategy.depth=true: not allowed"),
        ("resident", 1, "strategy.resident=1: not allowed; give true or false"),
        ("buffers", "poled", "strategy.buffers=poled: unknown; did you mean pooled"),
    ],
)
def test_values_of_the_request_are_checked(name: str, value: object, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        checked_values(name, f"strategy.{name}", [value])


def test_settings_with_the_same_effect_are_one() -> None:
    config = load("tracking=off", "workload=encoder_block", "workload.tiles=4")
    space = candidates([Base(config, {}, {"depth": [2, 4, 8, 9], "strategy.prefetch": [0, 8]})])
    assert [each.config.strategy.label for each in space] == [
        "pooled d2 b1 c1",
        "pooled d4 b1 c1",
        "pooled d2 b1 c1 p8",
    ]


def test_settings_that_no_run_allows_are_left_out() -> None:
    config = load("tracking=off", "phase=dma")
    knobs = {"strategy.buffers": ["per_tile", "pooled"], "strategy.resident": [False, True]}
    labels = [each.config.strategy.label for each in candidates([Base(config, {}, knobs)])]
    assert labels == ["per_tile d2 b8 c1", "pooled d2 b8 c1"]
    with pytest.raises(RequestError, match="phase=dma allows"):
        candidates([Base(config, {}, {"strategy.columns": [2, 3]})])
    knobs_of_many = {"depth": range(1, 1000), "strategy.prefetch": range(1000)}
    with pytest.raises(RequestError, match="at most 20,000 are allowed"):
        candidates([Base(config, {}, knobs_of_many)])


def test_a_python_without_optuna_names_the_extra(
    space: list[Candidate], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(RequestError, match=r"needs Optuna, .* pip install '\.\[tune\]'"):
        Search(space, TIME, tmp_path, "x")
