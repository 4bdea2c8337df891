"""Columns of the table of runs that depend on what differs between its rows."""

from __future__ import annotations

from dataclasses import replace

from support.record_samples import a_record

from harness.report.runs import table
from harness.results.record import Record


def headings(*records: Record) -> list[str]:
    return [each.heading for each in table(records, [None] * len(records)).shown()[0]]


def test_a_key_below_a_part_of_its_group_keeps_that_part() -> None:
    overrides = ("device.noise.enabled=true", "device.faults.lost=[1]", "device.launch_ns=2")
    shown = headings(a_record(), replace(a_record(), overrides=[*overrides]))
    assert {"noise.enabled", "faults.lost", "launch_ns"} <= {*shown}


def test_rows_of_several_kernels_name_them() -> None:
    one, other = a_record(), replace(a_record(), kernel="gelu")
    assert "kernel" not in headings(one, one)
    assert "kernel" in headings(one, other)
    named = [replace(each, overrides=[f"workload={each.kernel}"]) for each in (one, other)]
    shown = headings(*named)
    assert ("workload" in shown, "kernel" in shown) == (True, False), "the key names them"
