"""The table of how the time of a pass changes with depth, batch and columns."""

from __future__ import annotations

from collections.abc import Sequence

from harness.report.tables import NOTHING, Cell, Part, Sheet, right
from harness.study.payoff import GAIN, Payoff
from harness.units import ns_to_ms

ENOUGH = "*"
"""Mark of the value from which more pays off too little."""


def payoff_parts(payoffs: Sequence[Payoff]) -> list[Part]:
    """A row for each value, and two columns for each knob: the time, and its ratio to the bound.

    Nothing without curves.
    """
    if not payoffs:
        return []
    headings = [right("value")]
    for each in payoffs:
        headings += [
            right(f"{each.knob} ms", f"{each.knob}/total_ms"),
            right("/bound", f"{each.knob}/bound_ratio"),
        ]
    sheet = Sheet("payoff", *headings)
    for value in sorted({value for each in payoffs for value in each.values}):
        cells = [cell for each in payoffs for cell in _cells(each, value)]
        sheet.add(Cell(str(value), value), *cells)
    knobs = ", ".join(f"{each.knob}={each.own}" for each in payoffs)
    return [
        sheet,
        f"time of a pass {payoffs[0].basis}, with one knob changed; this run has {knobs}",
        f"{ENOUGH} more saves less than {GAIN:.0%}",
    ]


def _cells(payoff: Payoff, value: int) -> list[Cell]:
    if value not in payoff.values:
        return [Cell(NOTHING, None)] * 2
    place = payoff.values.index(value)
    total_ms = ns_to_ms(payoff.total_ns[place])
    mark = f"{ENOUGH} " if value == payoff.enough else ""
    bound_ns = payoff.bound_ns[place]
    ratio = payoff.total_ns[place] / bound_ns if bound_ns else None
    return [
        Cell(f"{mark}{total_ms:,.3f}", total_ms),
        Cell(NOTHING if ratio is None else f"{ratio:.3f}", ratio),
    ]
