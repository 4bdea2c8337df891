"""The table of a comparison, and the lines below it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from harness.measure.comparison import Change, Comparison, Limits
from harness.measure.metrics import METRICS
from harness.report.tables import NOTHING, Cell, Part, Sheet, hidden, left, number, right
from harness.study.comparison import Result, interleaved

RATIO = "{:.3f}"
CHANGES = "changes"
"""Heading of what differs between two settings."""


def comparison_parts(
    results: Sequence[Result], limits: Limits, floor: str = "", *, live: bool = False
) -> list[Part]:
    """The table, and the lines that explain it.

    floor: the line about the noise floor; empty if there is none to name. live: the runs alternated
    by the command itself.
    """
    parts: list[Part] = [comparison_sheet(results, limits)]
    names = list(dict.fromkeys(filter(None, (each.row.reference_name for each in results))))
    of = f"of {names[0]}" if len(names) == 1 else "of the reference"
    parts.append(
        f"ratio: time / time {of}, a run's median pass each; geometric mean over the pairs"
    )
    if any(not each.comparison.exact for each in results):
        parts.append(
            f"FASTER, SLOWER: the interval is beyond {percent(limits.difference)}; "
            f"SAME: inside +-{percent(limits.threshold)}"
        )
        parts += filter(None, [floor])
    else:
        parts.append(f"exact: virtual time without noise; SAME: within {percent(limits.threshold)}")
    for each in results:
        name = f"{each.row.name}: " if len(results) > 1 else ""
        if each.comparison.reason:
            parts.append(f"{name}{each.comparison.change.value}: {each.comparison.reason}")
    apart = [each for each in results if not each.comparison.exact and not interleaved(each.row)]
    if apart and not live:
        parts.append(
            "the runs did not alternate: a drift of the machine between them counts as a "
            "difference (harness compare KEY=A,B alternates)"
        )
    return [*parts, *_differences(results)]


def _differences(results: Sequence[Result]) -> list[str]:
    """What differs; a line that is the same for all rows is printed once."""
    names = dict[str, list[str]]()
    settings = Counter(each.row.name for each in results)
    for each in results:
        name, runs = each.row.name, each.row.candidate
        if settings[name] > 1 and runs:  # the column `run` tells them apart
            name = f"{name} {runs[0].label}"
        for line in each.differences.lines():
            names.setdefault(line, []).append(name)
    lines = [
        f"{CHANGES}{_of(rows) if len(rows) < len(results) else ''}: {line}"
        for line, rows in names.items()
    ]
    return lines or [f"{CHANGES}: none in configuration, code and environment"]


def _of(names: Sequence[str]) -> str:
    return f" of {', '.join(names)}"


def comparison_sheet(results: Sequence[Result], limits: Limits) -> Sheet:
    """A row for each comparison. CSV and JSON have the limits, the reason and what differs too."""
    headings = {METRICS[each.unit].heading for each in results}
    sheet = Sheet(
        "comparisons",
        left("setting", "candidate"),
        left("run"),
        right("reference", "reference_ms"),
        right(headings.pop() if len(headings) == 1 else "ms", "candidate_ms"),
        right("ratio"),
        left("95 % interval", "interval"),
        hidden("low"),
        hidden("high"),
        hidden("exact"),
        right("pairs"),
        left("verdict"),
        right("more pairs", "more_pairs"),
        hidden("unit"),
        hidden("threshold"),
        hidden("noise_floor"),
        hidden("reason"),
        hidden("reference"),
        hidden("configuration"),
        hidden("code"),
        hidden("environment"),
    )
    for each in results:
        found, differ = each.comparison, each.differences
        sheet.add(
            each.row.name,
            each.row.candidate[0].label if each.row.candidate else NOTHING,
            number(each.reference_ms, "{:.3f}"),
            number(each.candidate_ms, "{:.3f}"),
            number(found.ratio, RATIO),
            interval(found),
            Cell("", found.low),
            Cell("", found.high),
            Cell("", found.exact),
            Cell(str(found.pairs), found.pairs),
            found.change.value,
            number(found.more_pairs, "{}"),
            Cell("", METRICS[each.unit].name),
            Cell("", limits.threshold),
            Cell("", limits.noise_floor or None),
            found.reason,
            each.row.reference_name,
            "; ".join(differ.configuration),
            "; ".join(differ.code),
            "; ".join(differ.environment),
            wrong=found.change in (Change.SLOWER, Change.INVALID),
        )
    return sheet


def interval(found: Comparison) -> Cell:
    """The interval of a ratio; `exact` where it has no width."""
    if found.exact:
        return Cell("exact", "exact")
    if found.low is None or found.high is None:
        return Cell(NOTHING, None)
    text = f"[{RATIO.format(found.low)}, {RATIO.format(found.high)}]"
    return Cell(text, text)


def percent(share: float) -> str:
    """A share as a text: `1 %`, `0.35 %`."""
    return f"{100 * share:.3g} %"
