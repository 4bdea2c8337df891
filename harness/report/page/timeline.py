"""The timeline of a run as a chart, from its `trace.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.measure.timeline import Stage
from harness.report.page.charts import Chart, plain
from harness.report.pictures.style import GREY, STAGE_COLOURS, STALL_COLOUR
from harness.results.find import TRACE_NAME

LEFT_OUT = "left out"
"""In place of a stage, for tiles that the trace leaves out."""
TRACK_PX, FRAME_PX = 46, 130
"""Height of a track, and of the axis and the legend."""


def timeline_chart(name: str, folder: Path) -> Chart | str:
    """The spans and stalls of the trace in a folder; a sentence where it has none."""
    try:
        content = json.loads((folder / TRACE_NAME).read_bytes())
    except FileNotFoundError:
        return f"This run has no {TRACE_NAME}, so there is no timeline."
    except (OSError, ValueError) as error:
        return f"{TRACE_NAME} cannot be read ({error}), so there is no timeline."
    try:
        return _chart(name, content)
    except (KeyError, TypeError, ValueError, AttributeError):
        return f"{TRACE_NAME} is not a trace of this version, so there is no timeline."


def _chart(name: str, content: Mapping[str, Any]) -> Chart | str:
    events: Sequence[Mapping[str, Any]] = content["traceEvents"]
    # Of a chain, not every kernel runs on every column.
    used = {each["tid"] for each in events if each["ph"] in "Xi"}
    names = {each["tid"]: each["args"]["name"] for each in events if each["name"] == "thread_name"}
    tracks = {tid: name for tid, name in names.items() if tid in used}
    places = {tid: place for place, tid in enumerate(tracks)}
    spans = sorted((each for each in events if each["ph"] == "X"), key=_begin_ns)
    stalls = [each for each in events if each.get("cat") == "stall"]
    if not spans:
        return f"{TRACE_NAME} has no spans, so there is no timeline."
    found = {span.get("cat", LEFT_OUT) for span in spans}
    colours = {stage.name.lower(): colour for stage, colour in STAGE_COLOURS.items()}
    stages = [each.name.lower() for each in Stage if each.name.lower() in found]
    stages += [LEFT_OUT] * (LEFT_OUT in found)
    kernels = list(dict.fromkeys(each["args"].get("kernel", "") for each in spans))
    drawn = {
        "stages": [[stage, colours.get(stage, GREY)] for stage in stages],
        "tracks": [plain(each) for each in tracks.values()],
        "kernels": [plain(each) for each in kernels],
        "stage": [stages.index(each.get("cat", LEFT_OUT)) for each in spans],
        "track": [places[each["tid"]] for each in spans],
        "kernel": [kernels.index(each["args"].get("kernel", "")) for each in spans],
        "tile": [int(each["args"]["tile"]) for each in spans],
        "tiles": [int(each["args"]["tiles"]) for each in spans],
        "begin": [_begin_ns(each) for each in spans],
        "length": [_length_ns(each) for each in spans],
        "stallColour": STALL_COLOUR,
        "stalls": [
            [
                places[each["tid"]],
                int(each["args"]["start_ns"]),
                int(each["args"]["end_ns"]),
                plain(each["args"].get("cause", "")),
            ]
            for each in stalls
        ],
        "gaps": [place for place, each in enumerate(spans) if "cat" not in each],
    }
    about = content["otherData"]
    height = FRAME_PX + TRACK_PX * max(2, len(tracks))
    return Chart(name, {"spans": drawn}, _caption(about, len(stalls)), height)


def _begin_ns(event: Mapping[str, Any]) -> int:
    # Microseconds are the unit of the format, exact to the nanosecond.
    return round(float(event["ts"]) * 1000)


def _length_ns(event: Mapping[str, Any]) -> int:
    return round(float(event["dur"]) * 1000)


def _caption(about: Mapping[str, Any], stalls: int) -> str:
    clock = "computed in virtual time" if about["clock"] == "virtual" else "measured"
    stalled = (
        f"The {stalls:,} hatched bars are stalls: a column has nothing to do, because the host has "
        "launched nothing."
    )
    sentences = [
        f"The pass that the table shows, over {about['tiles']:,} tiles; its times are {clock}.",
        "Each bar is a stage of one submission; point at it to read its tile and its times.",
        stalled if stalls else "No column stalls.",
    ]
    if "cut" in about:
        sentences.append(f"The trace of this long pass has only {about['cut']}.")
    return " ".join(sentences)
