"""The pictures of runs and sweeps: which ones a command draws, and when.

Nothing is drawn while anything is timed. A single run draws in another process while it imports
MLflow, which takes longer. A sweep draws once, at its end, its curves and the timeline of its
fastest run; a live comparison draws its forest plot. `harness show --pictures` draws the other
timelines. In CPU time, a sweep of 40 jobs took 10.7 s, importing matplotlib 0.7 s, and a picture
0.2 s: one for each job would nearly double it. Where all jobs compute their times, the process
that draws imports matplotlib while they run.

Whatever happens to a picture is one message of the command, whose results and exit code stay.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from harness.commands.draw_process import Drawing
from harness.report.pictures.curves import CurvesPicture
from harness.report.pictures.files import Picture
from harness.report.pictures.timeline import TimelinePicture
from harness.report.pictures.tuned import TunedPicture
from harness.report.runs import fastest
from harness.results.find import TRACE_NAME
from harness.results.record import Record
from harness.study.sweep_curves import sweep_curves
from harness.study.tune import JOURNAL
from harness.study.tuned_knobs import knob_panels

SWITCH = "HARNESS_PICTURES"
"""Environment variable; with the value `off`, runs, sweeps and comparisons draw nothing."""


def wanted() -> bool:
    """Whether runs, sweeps and comparisons draw pictures."""
    return os.environ.get(SWITCH) != "off"


class Pictures:
    """The pictures of one invocation. remark: prints a message that changes no exit code.

    pictures = Pictures(print)
    pictures.prepare()  # not while anything is timed
    pictures.begin([TimelinePicture(folder)])
    pictures.end()
    """

    def __init__(self, remark: Callable[[str], None]) -> None:
        self._remark = remark
        self._drawing: Drawing | None = None
        self._wanted = wanted()
        self.drawn: list[Path] = []
        """The files that `end` has waited for."""

    def prepare(self) -> None:
        """Start the process that draws, which takes its time before `begin` needs it."""
        if self._wanted and self._drawing is None:
            self._drawing = Drawing()

    def begin(self, pictures: Sequence[Picture]) -> None:
        """Start to draw, unless pictures are not wanted."""
        if self._wanted and pictures:
            self.prepare()
            assert self._drawing is not None
            self._drawing.draw(pictures)

    def end(self) -> list[Path]:
        """Wait for the pictures, print which ones could not be drawn; returns the others."""
        drawing, self._drawing = self._drawing, None
        if drawing is None:
            return []
        for line in drawing.wait():
            self._remark(line)
        self.drawn += drawing.drawn
        return drawing.drawn

    def cancel(self) -> None:
        """Draw nothing more: the command was interrupted."""
        self._wanted = False
        drawing, self._drawing = self._drawing, None
        if drawing:
            drawing.cancel()


def of_run(folder: Path) -> list[Picture]:
    """The pictures of a run; none without a trace."""
    return [TimelinePicture(folder)] if (folder / TRACE_NAME).is_file() else []


def of_sweep(folder: Path, runs: Sequence[tuple[Record, Path]]) -> list[Picture]:
    """The pictures of a sweep: its curves, and the timeline of its fastest run."""
    records = [record for record, _ in runs]
    pictures = _curves(folder, records)
    for row in sorted(fastest(records))[:1]:
        # Again if it exists: after a kill, MLflow may lack it.
        pictures += of_run(runs[row][1])
    return pictures


def of_study(folder: Path, runs: Sequence[tuple[Record, Path]]) -> list[Picture]:
    """The picture of a search; none if it measured one value of each knob."""
    records = [record for record, _ in runs]
    panels = knob_panels(records)
    title = f"{folder.resolve().name}: {sum(each.ok for each in records)} measured settings"
    return [TunedPicture(folder, title, panels)] if panels else []


def of_stored(sweep: Path | None, runs: Sequence[tuple[Record, Path]]) -> list[Picture]:
    """All pictures of stored runs; sweep: the folder of the sweep that they are."""
    pictures: list[Picture] = []
    if sweep and (sweep / JOURNAL).is_file():
        pictures = of_study(sweep, runs)
    elif sweep:
        pictures = _curves(sweep, [record for record, _ in runs])
    return [*pictures, *(each for _, folder in runs for each in of_run(folder))]


def _curves(folder: Path, records: Sequence[Record]) -> list[Picture]:
    curves = sweep_curves(records, fastest(records))
    kernels = dict.fromkeys(f"{each.kernel} on device={each.device}" for each in records)
    title = f"{folder.resolve().name}: {', '.join(kernels)}"  # "." has no name
    return [CurvesPicture(folder, title, curves)] if curves else []
