"""Curves of a page: time over what a sweep varied, and over knobs by the model of a pass."""

from __future__ import annotations

from collections.abc import Sequence

from harness.report.page.charts import (
    FRAME_PX,
    ROW_PX,
    Chart,
    Content,
    plain,
    points,
    whole_numbers,
)
from harness.report.pictures.style import (
    BEST_COLOUR,
    BLUE,
    BOUND,
    GREY,
    MOST_CURVES,
    SERIES_COLOURS,
)
from harness.study.payoff import Payoff
from harness.study.sweep_curves import Curve, Point, SweepCurves
from harness.units import ns_to_ms

MOST_CATEGORIES = 60
CURVE_PX, PAYOFF_PX = 420, 300
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "triangle-down", "cross", "x")
TIME_AXIS: Content = {"title": {"text": "ms per tile"}}


def sweep_chart(name: str, data: SweepCurves) -> Chart | None:
    """The times of a sweep; None for fewer than two points."""
    if sum(len(curve.points) for curve in data.curves) < 2:
        return None
    return _over_number(name, data) if data.key else _over_categories(name, data)


def _over_number(name: str, data: SweepCurves) -> Chart:
    curves = data.fastest(MOST_CURVES)
    series = list[Content]()
    for place, curve in enumerate(curves):
        colour = SERIES_COLOURS[place % len(SERIES_COLOURS)]
        symbol = SYMBOLS[place // len(SERIES_COLOURS) % len(SYMBOLS)]
        x, y = ([getattr(each, key) for each in curve.points] for key in ("x", "tile_ms"))
        hover = [_hover(data, curve, each) for each in curve.points]
        label = plain(curve.name) or "time"
        series.append(points(label, x, y, hover, colour, symbol, "lines+markers"))
        series.append(_bounds(curve, colour, first=not place))
    values = data.x_values
    whole = all(float(each).is_integer() for each in values)
    ticks = whole_numbers(values[0], values[-1]) if whole else {}
    layout = {"xaxis": {"title": {"text": plain(data.label, 80)}, **ticks}, "yaxis": TIME_AXIS}
    return Chart(
        name,
        {"data": [*series, *_best(data, curves, upright=True)], "layout": layout},
        _caption(data, len(curves), "curves"),
        CURVE_PX,
    )


def _bounds(curve: Curve, colour: str, *, first: bool) -> Content:
    """The bound of each run of a curve, a dotted line; only the first one is in the legend."""
    known = [(each.x, each.bound_ms) for each in curve.points if each.bound_ms]
    x, y = [place for place, _ in known], [bound for _, bound in known]
    hover = [f"bound: {bound:.4f} ms per tile" for bound in y]
    line = points("bound", x, y, hover, colour, "line-ew", "lines")
    return {**line, "line": {"dash": "dot", "color": colour}, "showlegend": first}


def _over_categories(name: str, data: SweepCurves) -> Chart:
    curves = data.fastest(MOST_CATEGORIES)
    rows = [(place, curve, each) for place, curve in enumerate(curves) for each in curve.points]
    hover = [_hover(data, curve, each) for _, curve, each in rows]
    places = [place for place, _, _ in rows]
    series = [points("time", [each.tile_ms for *_, each in rows], places, hover, BLUE, "circle")]
    known = [(place, each.bound_ms) for place, _, each in rows if each.bound_ms]
    bounds = [bound for _, bound in known]
    texts = [f"bound: {bound:.4f} ms per tile" for bound in bounds]
    at = [place for place, _ in known]
    series.append(points("bound", bounds, at, texts, GREY, "line-ns-open"))
    layout = {
        "xaxis": TIME_AXIS,
        "yaxis": {
            "tickvals": list(range(len(curves))),
            "ticktext": [plain(curve.name) for curve in curves],
            # The first row on top.
            "range": [len(curves) - 0.4, -0.6],
            "fixedrange": True,
        },
    }
    return Chart(
        name,
        {"data": [*series, *_best(data, curves, upright=False)], "layout": layout},
        _caption(data, len(curves), "rows"),
        FRAME_PX + ROW_PX * max(3, len(curves)),
    )


def _best(data: SweepCurves, curves: Sequence[Curve], *, upright: bool) -> list[Content]:
    """A mark around the fastest right runs."""
    found = [
        (each.x if upright else place, each.tile_ms)
        for place, curve in enumerate(curves)
        for each in curve.points
        if each.row in data.best
    ]
    if not found:
        return []
    along, times = [place for place, _ in found], [time for _, time in found]
    x, y = (along, times) if upright else (times, along)
    mark = points("fastest right run", x, y, [], BEST_COLOUR, "circle-open")
    mark["marker"] |= {"size": 18}
    return [{**mark, "hoverinfo": "skip"}]


def _hover(data: SweepCurves, curve: Curve, point: Point) -> str:
    where = f"{plain(data.key)}={point.x:g}" if data.key else ""
    lines = [each for each in (plain(curve.name), where) if each]
    return "<br>".join([*lines, f"{point.tile_ms:.4f} ms per tile"])


def _caption(data: SweepCurves, shown: int, what: str) -> str:
    sentences = [f"Each point is a run. The {BOUND}."]
    if shown < len(data.curves):
        sentences.append(f"The chart has the fastest {shown} of {len(data.curves)} {what}.")
    if data.left_out:
        runs = "run is" if data.left_out == 1 else "runs are"
        sentences.append(f"{data.left_out} {runs} left out: not right, or without a time.")
    return " ".join(sentences)


def payoff_chart(name: str, data: Payoff) -> Chart:
    """The time of a pass over the values of one knob, by the model."""
    values = list(data.values)
    totals_ms, bounds_ms = (
        [ns_to_ms(each) for each in times] for times in (data.total_ns, data.bound_ns)
    )
    hover = [
        f"{data.knob}={value}: {total:.4f} ms, {data.saved(value):+.1%} saved"
        for value, total in zip(values, totals_ms, strict=True)
    ]
    texts = [f"bound: {each:.4f} ms" for each in bounds_ms]
    own = values.index(data.own)
    bound = points("bound", values, bounds_ms, texts, GREY, "line-ew", "lines")
    this = points("this run", [data.own], [totals_ms[own]], [hover[own]], BEST_COLOUR, "diamond")
    this["marker"] |= {"size": 13}
    layout = {
        "xaxis": {"title": {"text": data.knob}, **whole_numbers(values[0], values[-1])},
        "yaxis": {"title": {"text": "ms per pass"}, "rangemode": "tozero"},
    }
    series = [
        points("time", values, totals_ms, hover, BLUE, "circle", "lines+markers"),
        {**bound, "line": {"dash": "dot", "color": GREY}},
        this,
    ]
    gain = (
        f"From {data.knob} {data.enough} on, more gains less than 1 %"
        if data.enough < values[-1]
        else f"The largest value here, {data.knob} {data.enough}, is the fastest"
    )
    what = f"The time of a pass {data.basis}, with all other knobs as in this run"
    caption = f"{what}. {gain}. The {BOUND}."
    return Chart(name, {"data": series, "layout": layout}, caption, PAYOFF_PX)
