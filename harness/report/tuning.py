"""The lines below the table of a search: the best setting, how sure it is, and what equals it."""

from __future__ import annotations

from collections.abc import Sequence

from harness.device.backend import VIRTUAL
from harness.measure.metric import Metric
from harness.measure.metrics import METRICS
from harness.measure.stats import LEAST_SAMPLES, Ratio, ratio_interval
from harness.report.runs import FORMATS
from harness.report.tables import NOTHING
from harness.results.record import Record
from harness.study.tune import Objective

MOST_NAMES = 6
"""Settings that a line names."""


def same_as_best(best: Record, others: Sequence[Record], objective: Objective) -> list[Record]:
    """The records that do not differ from the best: its interval contains 1, or equal values."""
    name = objective.name
    if not objective.of_time:
        return [each for each in others if each.metrics[name] == best.metrics[name]]
    return [each for each in others if _is_same(_ratio(best, each))]


def _ratio(best: Record, other: Record) -> Ratio:
    """The time of the other divided by that of the best."""
    return ratio_interval(other.samples.total_ns, best.samples.total_ns)


def _is_same(ratio: Ratio) -> bool:
    if ratio.low is None or ratio.high is None:
        return ratio.ratio == 1
    return ratio.low <= 1 <= ratio.high


def best_lines(
    best: Record, others: Sequence[Record], objective: Objective, command: str
) -> list[str]:
    """The best setting, its command, how sure it is, and the measured settings that equal it.

    others: the other right records, best first.
    """
    metric = METRICS[objective.name]
    lines = [
        f"best: {best.label}, {metric.name} {_value(metric, best)}",
        f"run it: {command}",
        f"certainty: {_certainty(best, others, objective)}",
    ]
    if same := same_as_best(best, others, objective):
        lines.append(f"the same: {_names([each.label for each in same])}")
    return lines


def space_line(
    settings: int, measured: int, failed: int, excluded: int, left: int, of_time: bool
) -> str:
    """How much of the space was measured, or needed no run."""
    parts = [f"{measured} measured"]
    if failed:
        parts.append(f"{failed} failed")
    if excluded:
        parts.append(f"{excluded} excluded, as their bound is no better than the best")
    if left:
        parts.append(f"{left} not tried")
    text = f"space: {settings} settings: {', '.join(parts)}"
    if not left and not failed:
        text += "; no setting of the space is better"
    elif not excluded and not of_time:
        text += "; this objective has no bound"
    return text


def _certainty(best: Record, others: Sequence[Record], objective: Objective) -> str:
    passes = len(best.samples.total_ns)
    is_exact = best.totals is not None and best.totals.clock == VIRTUAL
    noisy = len(set(best.samples.total_ns)) > 1
    if is_exact and not noisy:
        return "exact: passes in virtual time do not vary"
    if not objective.of_time:
        return f"no interval for {objective.name}: it is the value of one pass of {passes}"
    if passes < LEAST_SAMPLES:
        return f"none: {passes} timed passes have no interval; use measure=standard"
    same = {id(each) for each in same_as_best(best, others, objective)}
    other = next((each for each in others if id(each) not in same), None)
    if other is None:
        return "no measured setting differs from it within the 95 % interval"
    ratio = _ratio(best, other)
    if ratio.low is None or ratio.high is None:
        return f"none: {other.label} has too few timed passes; use measure=standard"
    return (
        f"{other.label} takes {ratio.ratio:.3f} [{ratio.low:.3f}, {ratio.high:.3f}] times as long "
        "(95 % interval)"
    )


def _value(metric: Metric, record: Record) -> str:
    value = record.metrics[metric.name]
    if value is None:
        return NOTHING
    return FORMATS.get(metric.unit, "{:,.6g}".format)(value)


def _names(labels: Sequence[str]) -> str:
    names = list(dict.fromkeys(labels))
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return f"{', '.join(names[:MOST_NAMES])}{more}"
