"""Collects the content of a page from stored runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from harness.errors import RequestError
from harness.measure.comparison import Limits
from harness.report.comparison import comparison_parts
from harness.report.page.charts import forest_chart
from harness.report.page.curves import sweep_chart
from harness.report.page.page import Comparison, Page
from harness.report.page.run_view import run_view
from harness.report.run_lines import failures, lines_below
from harness.report.runs import TILE_MS, fastest, table
from harness.results.record import Record
from harness.results.speedup import speedups
from harness.study.comparison import Row, interleaved, judge
from harness.study.differences import settings, varying
from harness.study.forest import forest
from harness.study.sweep_curves import sweep_curves

Run = tuple[Record, Path]
MOST_VALUES = 8
"""Most values that are listed of a key that differs between runs."""


def page_of(
    runs: Sequence[Run],
    shown: Sequence[Path],
    title: str,
    remarks: Sequence[str] = (),
    comparison: Comparison | None = None,
) -> Page:
    """The content of the page about some runs.

    shown: the folder of each run as texts name it. title: of several runs. remarks: about runs
    without a record.
    """
    records = [record for record, _ in runs]
    ratios = speedups(records)
    full, single = _in_full(records), len(runs) == 1
    views = [
        run_view(f"run-{place}", record, folder, name, ratio, charts=place in full, curves=single)
        for place, ((record, folder), ratio, name) in enumerate(
            zip(runs, ratios, shown, strict=True)
        )
    ]
    reasons = set(failures(records))
    found = None if single else sweep_curves(records, fastest(records))
    curve = sweep_chart("curves-of-runs", found) if found else None
    return Page(
        title=records[0].name if single else title,
        created=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        table=table(records, ratios, shown),
        # A sweep's page has a section for the runs that are not right.
        lines=[each for each in lines_below(records) if single or each not in reasons],
        runs=views,
        remarks=remarks,
        comparison=None if single else comparison,
        curves=[curve] if curve else [],
        differences=[] if single else _differences(records),
        full={f"run-{place}": names for place, names in full.items()},
    )


def comparison_of(rows: Sequence[Row], limits: Limits, floor: str) -> Comparison:
    """The comparison of some settings; floor: the line about the noise floor."""
    results = [judge(row, limits) for row in rows]
    return Comparison(
        comparison_parts(results, limits, floor, live=all(map(interleaved, rows))),
        forest_chart("forest", forest(results, limits)),
    )


def no_comparison(error: RequestError) -> Comparison:
    """The place of a comparison of runs that cannot be compared."""
    return Comparison(absent=str(error))


def _in_full(records: Sequence[Record]) -> dict[int, str]:
    """The runs that have a timeline, by place, and what each of them is."""
    if len(records) == 1:
        return {0: ""}
    found = dict[int, list[str]]()
    found.setdefault(0, []).append("the first run")
    for place in sorted(fastest(records))[:1]:
        found.setdefault(place, []).append("the fastest right run")
    times = {
        place: value
        for place, record in enumerate(records)
        if record.ok and (value := record.metrics[TILE_MS])
    }
    if len(times) > 1:
        slowest = max(times, key=lambda place: times[place])
        found.setdefault(slowest, []).append("the slowest right run")
    return {place: " and ".join(names) for place, names in found.items()}


def _differences(records: Sequence[Record]) -> list[tuple[str, str]]:
    """The keys of the configuration that differ between the runs, with their values."""
    configs = [settings(record.config) for record in records]
    return [
        (key, _listed(config.get(key) for config in configs)) for key in sorted(varying(records))
    ]


def _listed(values: Iterable[object]) -> str:
    texts = list(dict.fromkeys("unknown" if each is None else str(each) for each in values))
    more = len(texts) - MOST_VALUES
    return ", ".join(texts[:MOST_VALUES]) + (f" and {more} more" if more > 0 else "")
