"""Which keys make another experiment, and which must be equal for a speed-up or a roadmap."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import pytest
from support.record_samples import CONFIG, a_record

from harness.config.schema import Config
from harness.config.strategy import Strategy
from harness.execution.outcome import Verdict
from harness.measure.stats import Ratio
from harness.results.identity import KEYS, config_hash, phase_setting, speedup_setting
from harness.results.speedup import speedups

POOLED = Strategy()


def changed(key: str, value: Any = "another") -> dict[str, Any]:
    config = copy.deepcopy(CONFIG)
    *groups, last = key.split(".")
    part = config
    for group in groups:
        part = part[group]
    part[last] = value
    return config


@pytest.mark.parametrize(
    ("key", "identity", "speedup", "phases"),
    [
        ("device.launch_ns", True, True, True),
        ("workload.tiles", True, True, True),
        ("workload.model", True, True, True),
        ("workload.accounting", True, True, False),
        ("workload.fused", True, True, False),
        ("measure.warmup", True, True, True),
        ("measure.repeats", True, True, True),
        ("seed", True, True, True),
        ("verify", True, True, False),
        ("strategy.depth", True, False, False),
        ("depth", True, False, False),
        ("phase.name", True, False, False),
        ("tracking.kind", False, False, False),
        ("a_key_of_the_future", True, True, True),
    ],
)
def test_what_a_key_counts_for(key: str, identity: bool, speedup: bool, phases: bool) -> None:
    other = changed(key)
    assert (config_hash(other) != config_hash(CONFIG)) is identity
    assert (speedup_setting(other) != speedup_setting(CONFIG)) is speedup
    assert (phase_setting(other) != phase_setting(CONFIG)) is phases


def test_the_order_of_keys_does_not_count() -> None:
    reverse = {
        key: dict(reversed(value.items())) if isinstance(value, dict) else value
        for key, value in reversed(CONFIG.items())
    }
    assert config_hash(reverse) == config_hash(CONFIG)


def test_the_hash_is_the_same_in_every_version() -> None:
    """Runs of different months are found by it."""
    assert config_hash({"seed": 1, "tracking": {"kind": "off"}, "workload": {"fused": True}}) == (
        "5f2b6fdd39237e7ad767333590f73f60d82750bbb5662eb490a248363fcf92ba"
    )


def test_every_key_of_the_configuration_has_a_row() -> None:
    assert {field.name for field in dataclasses.fields(Config)} <= set(KEYS)


def test_a_speed_up_is_over_the_baseline_of_the_same_setting() -> None:
    fast, slow = (50, 50, 50, 50, 50), (100, 100, 100, 100, 100)
    records = [
        a_record(slow),
        a_record(fast, POOLED, changed("strategy.depth")),
        a_record(fast, POOLED, changed("seed", 1)),
    ]
    assert speedups(records) == [Ratio(1, 1, 1), Ratio(2, 2, 2), None]


@pytest.mark.parametrize("key", ["measure.warmup", "measure.repeats"])
def test_a_cold_baseline_gives_a_warm_run_no_speed_up(key: str) -> None:
    """The guide's own mistake: its baseline was cold, and what it is compared with was warm."""
    cold, warm = a_record(config=changed(key, 0)), a_record((50,) * 5, POOLED)
    assert speedups([cold, warm])[1] is None


def test_only_right_runs_have_speed_ups() -> None:
    wrong_baseline = a_record(verdict=Verdict.WRONG)
    assert speedups([wrong_baseline, a_record(strategy=POOLED)]) == [None, None]
    wrong_run = a_record(strategy=POOLED, verdict=Verdict.INVALID)
    assert speedups([a_record(), wrong_run])[1] is None


def test_a_pass_of_no_tiles_has_no_speed_up() -> None:
    assert speedups([a_record((0,) * 5)]) == [None]


def test_without_a_baseline_there_is_no_speed_up() -> None:
    assert speedups([a_record(strategy=POOLED)]) == [None]


def test_a_serial_run_of_pooled_buffers_is_no_baseline() -> None:
    assert not POOLED.is_baseline
    assert speedups([a_record(strategy=POOLED), a_record(strategy=Strategy(depth=2))]) == [None] * 2


def test_too_few_repeats_have_a_ratio_without_interval() -> None:
    found = speedups([a_record((100, 101, 99, 100)), a_record((50, 50, 50, 51), POOLED)])[1]
    assert found == Ratio(None, 2.0, None)
