"""The records of a sweep hold one copy of what they have in common."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

from support.record_samples import a_record

from harness.results.shared_parts import MOST_PARTS, SharedRuns


def test_records_share_equal_parts_and_stay_equal() -> None:
    runs, first = SharedRuns(), a_record()
    second = copy.deepcopy(first)
    third = replace(second, config={**second.config, "seed": 7, "workload": {"tiles": 1}})
    for number, record in enumerate((first, second, third)):
        runs.append((record, Path(str(number))))
    assert [record for record, _ in runs] == [first, second, third]
    assert [str(folder) for _, folder in runs] == ["0", "1", "2"]
    kept = [record for record, _ in runs]
    for name in set(first.config) - {"seed", "workload"}:
        assert kept[0].config[name] is kept[1].config[name] is kept[2].config[name]
    assert kept[0].environment is kept[1].environment
    assert kept[2].config["workload"] == {"tiles": 1}


def test_parts_that_all_differ_are_not_remembered() -> None:
    runs = SharedRuns()
    for number in range(MOST_PARTS + 10):
        runs.append((replace(a_record(), config={"workload": {"tiles": number}}), Path()))
    assert len(runs._shared._parts) == MOST_PARTS
    assert [record.config["workload"]["tiles"] for record, _ in runs] == [*range(MOST_PARTS + 10)]
