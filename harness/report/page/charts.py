"""The charts of a page as data for plotly.js, except the timeline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from harness.measure.comparison import Change
from harness.measure.stopping import StopReason
from harness.report.comparison import percent
from harness.report.pictures.style import BLUE, GREEN, GREY, VERMILION
from harness.results.record import Record
from harness.study.forest import Forest, ForestRow, band
from harness.units import ns_to_ms

Content = dict[str, Any]
MOST_CHARACTERS = 40
"""Longest name at an axis."""
MOST_FOREST_ROWS = 60
MOST_TICKS = 12
ROW_PX, FRAME_PX = 24, 120
"""Height of a row of a chart, and of its axis and legend."""
CHANGES = {
    Change.FASTER: (BLUE, "triangle-left"),
    Change.SLOWER: (VERMILION, "triangle-right"),
    Change.SAME: (GREEN, "circle"),
    Change.UNDECIDED: (GREY, "circle-open"),
}
"""Colour and symbol of each verdict that has a ratio."""
CAUSES = {
    StopReason.exact: " (virtual time without noise: each pass takes the same time)",
    StopReason.requested: " (measure.repeats)",
}
"""What explains a reason to end the passes that the lines below the table leave out."""


@dataclass(frozen=True)
class Chart:
    """name: id of its element. content: for page.js. caption: a sentence below it."""

    name: str
    content: Content
    caption: str
    height_px: int


def plain(text: str, most: int = MOST_CHARACTERS) -> str:
    """A text for plotly.js, which reads some HTML in its texts; cut at `most` characters."""
    line = " ".join(text.split())
    return escape(line if len(line) <= most else f"{line[: most - 3]}...", quote=False)


def samples_chart(name: str, record: Record) -> Chart | None:
    """The time of each timed pass, in their order; None for a run without timed passes."""
    times_ms = [ns_to_ms(each) for each in record.samples.total_ns]
    if not times_ms:
        return None
    places = [place for place in range(len(times_ms)) if place != record.timed_pass]
    data = [_passes("timed pass", places, times_ms, BLUE, "circle")] if places else []
    if record.timed_pass is not None:
        data.append(_passes("median", [record.timed_pass], times_ms, VERMILION, "diamond"))
    layout = {
        "xaxis": {"title": {"text": "timed pass"}, **whole_numbers(1, len(times_ms))},
        "yaxis": {"title": {"text": "ms per pass"}, "range": _room(times_ms)},
    }
    return Chart(name, {"data": data, "layout": layout}, _passes_caption(record), 280)


def _passes_caption(record: Record) -> str:
    samples = record.samples
    count = len(samples.total_ns)
    sentences = [
        f"Each point is one of {count} timed passes, in the order in which they ran; the table has "
        "the median. Points that rise or fall together show that the machine changed."
        if count > 1
        else "The point is the only timed pass."
    ]
    if record.stop:
        cause = CAUSES.get(record.stop.reason, "")
        sentences.append(f"Why the passes ended: {record.stop.text}{cause}.")
    if samples.warmup_ns:
        times = ", ".join(f"{ns_to_ms(each):.3f} ms" for each in samples.warmup_ns)
        sentences.append(f"The warm-up before them, which does not count, took {times}.")
    if samples.cold:
        sentences.append("Each pass began on new contexts (measure.warmup=0).")
    return " ".join(sentences)


def _passes(
    name: str, places: Sequence[int], times_ms: Sequence[float], colour: str, symbol: str
) -> Content:
    hover = [f"pass {place + 1}: {times_ms[place]:.4f} ms" for place in places]
    numbers, times = [place + 1 for place in places], [times_ms[place] for place in places]
    return points(name, numbers, times, hover, colour, symbol)


def forest_chart(name: str, data: Forest) -> Chart | None:
    """The ratio of each comparison with its interval; None where none has a ratio."""
    drawn = [each for each in data.rows if each.ratio is not None and each.verdict in CHANGES]
    rows = drawn[:MOST_FOREST_ROWS]
    if not rows:
        return None
    several = len({each.name for each in rows}) < len(rows)
    names = [f"{each.name} {each.run}" if several else each.name for each in rows]
    low, high = band(data.threshold)
    layout = {
        "xaxis": {"title": {"text": f"time / time of {plain(data.reference)}"}},
        "yaxis": {
            "tickvals": list(range(len(rows))),
            "ticktext": [plain(each) for each in names],
            # The first row on top.
            "range": [len(rows) - 0.4, -0.6],
            "fixedrange": True,
        },
        "shapes": [
            {"type": "rect", "x0": low, "x1": high, **_WHOLE_HEIGHT},
            {"type": "line", "x0": 1, "x1": 1, **_WHOLE_HEIGHT},
        ],
    }
    series = [_series(rows, change) for change in CHANGES]
    cut = f" The table has {len(drawn) - len(rows)} rows more." if len(drawn) > len(rows) else ""
    caption = (
        "Each point is the ratio of two times, with its 95 % interval. Left of the line at 1 a "
        "setting takes less time than the reference, right of it more; the grey band is a "
        f"difference of at most {percent(data.threshold)}.{cut}"
    )
    content = {"data": [each for each in series if each["x"]], "layout": layout}
    return Chart(name, content, caption, FRAME_PX + ROW_PX * max(3, len(rows)))


_WHOLE_HEIGHT: Content = {"y0": 0, "y1": 1, "yref": "paper"}


def _series(rows: Sequence[ForestRow], change: Change) -> Content:
    """The points of the rows with one verdict."""
    found = [
        (place, each.ratio, each)
        for place, each in enumerate(rows)
        if each.verdict is change and each.ratio is not None
    ]
    result = points(
        change.value,
        [ratio for _, ratio, _ in found],
        [place for place, _, _ in found],
        [_ratio_text(each, ratio) for _, ratio, each in found],
        *CHANGES[change],
    )
    above = [(each.high or ratio) - ratio for _, ratio, each in found]
    below = [ratio - (each.low or ratio) for _, ratio, each in found]
    if any(above) or any(below):
        sides = {"symmetric": False, "array": above, "arrayminus": below}
        result["error_x"] = {"type": "data", **sides}
    return result


def _ratio_text(row: ForestRow, ratio: float) -> str:
    interval = f"[{row.low:.4f}, {row.high:.4f}]" if row.low and row.high else "no interval"
    certainty = "exact" if row.exact else interval
    name = f"{plain(row.name)}<br>{plain(row.run)}"
    return f"{name}<br>{ratio:.4f}, {certainty}<br>{row.verdict.value}"


def points(
    name: str,
    x: Sequence[float],
    y: Sequence[float],
    hover: Sequence[str],
    colour: str,
    symbol: str,
    mode: str = "markers",
) -> Content:
    """A series of points; hover: the text of each."""
    return {
        "type": "scatter",
        "mode": mode,
        "name": name,
        "x": list(x),
        "y": list(y),
        "hovertext": list(hover),
        "hoverinfo": "text",
        "marker": {"color": colour, "symbol": symbol, "size": 9},
    }


def whole_numbers(least: float, most: float) -> Content:
    """An axis with ticks at whole numbers."""
    length = most - least
    step = {"dtick": 1} if length < MOST_TICKS else {"nticks": MOST_TICKS}
    edge = max(0.5, 0.02 * length)
    return {"tickformat": "d", "range": [least - edge, most + edge], **step}


def _room(values: Sequence[float]) -> list[float] | None:
    """A range of at least 4 % around values, so that a small noise does not look large."""
    low, high = min(values), max(values)
    middle = (low + high) / 2
    half = max((high - low) * 0.6, 0.02 * middle)
    return [middle - half, middle + half] if half else None
