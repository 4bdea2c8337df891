"""The records of a sweep hold one copy of what they have in common."""

from __future__ import annotations

import copy
from dataclasses import replace

from support.record_samples import CONFIG, a_record

from harness.results.shared_parts import MOST_PARTS, SharedParts


def test_records_share_equal_parts_and_stay_equal() -> None:
    device = {"faults": {"lost": None}, "noise": {"seed": 0}}
    shared, first = SharedParts(), a_record(config={**CONFIG, "device": device})
    second = copy.deepcopy(first)
    nested = {"faults": {"lost": None}, "noise": {"seed": 7}}
    third = replace(second, config={**second.config, "seed": 7, "device": nested})
    kept = [shared(record) for record in (first, second, third)]
    assert kept == [first, second, third]
    for name in set(first.config) - {"seed", "device"}:
        assert kept[0].config[name] is kept[1].config[name] is kept[2].config[name]
    assert kept[0].config["device"]["faults"] is kept[2].config["device"]["faults"]
    for name in ("environment", "knobs", "accounting"):
        assert getattr(kept[0], name) is getattr(kept[1], name) is getattr(kept[2], name)
    assert kept[2].config["device"]["noise"] == {"seed": 7}


def test_parts_that_all_differ_are_not_remembered() -> None:
    shared = SharedParts()
    kept = [
        shared(replace(a_record(), config={"workload": {"tiles": number}}))
        for number in range(MOST_PARTS + 10)
    ]
    assert len(shared._parts) == MOST_PARTS
    assert [record.config["workload"]["tiles"] for record in kept] == [*range(MOST_PARTS + 10)]
