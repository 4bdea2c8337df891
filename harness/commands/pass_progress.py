"""Progress of the passes of a run, and of the jobs of a sweep, on stderr."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from harness.commands.terminal import Presentation, say, say_from_handler, stderr_redraws
from harness.config.schema import Config
from harness.device.interrupt import on_delayed_signal
from harness.execution.experiment import Experiment
from harness.execution.outcome import Outcome
from harness.measure.caching import TURNS
from harness.report.progress import PassBar

LINE_S = 10.0
"""Seconds between two lines about a sweep, where stderr cannot redraw a bar."""
WATCH_S = 1.0
"""Seconds between two looks at the jobs of other processes."""
SECONDS_SHOWN = 90
MINUTES_SHOWN = 90
log = logging.getLogger("harness")


class SweepProgress:
    """Reports the number of the job and the time left, as a bar or as lines every 10 s.

    jobs: number of jobs that run. hidden: report nothing. now_s: the clock.

        progress = SweepProgress(20)
        job = progress.job("pooled d2 b1 c1", 7)  # a job with 7 passes begins
        job("pass 1 of 5", 0.5)
        progress.close()

    Of jobs in other processes, it reports how many have ended:

        progress.watch(lambda: len(list(record_files(folder))))
    """

    def __init__(
        self, jobs: int, *, hidden: bool = False, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._jobs, self._begun, self._now_s = jobs, 0, now_s
        self._start_s = self._line_s = now_s()
        self._bar = PassBar("", jobs, hidden=hidden)
        self._hidden = hidden
        self._lines = not hidden and not stderr_redraws()
        self._closed = threading.Event()
        self._watcher: threading.Thread | None = None

    def job(self, label: str, passes: int) -> Callable[[str, float], None]:
        """The next job begins; returns the function to call when its passes make progress."""
        self._begun += 1
        ended = self._begun - 1
        position = f"job {self._begun} of {self._jobs}{self._left(ended)}: {label}"
        begun = 0

        def report(name: str, share: float) -> None:
            nonlocal begun
            begun += not share
            part = f" {share:.0%}" if share else ""
            self._show(f"{position}: {name}{part}", ended + (begun - 1 + share) / passes)

        return report

    def watch(self, count: Callable[[], int]) -> None:
        """Report jobs of other processes in a thread until `close`.

        count: returns how many have ended; it may raise OSError.
        """

        def report() -> None:
            while not self._closed.wait(WATCH_S):
                if self._lines and not self._line_is_due():
                    continue
                with suppress(OSError):
                    ended = count()
                    text = f"{ended} of {self._jobs} jobs have ended{self._left(ended)}"
                    self._show(text, ended)

        if not self._hidden:
            self._watcher = threading.Thread(target=report, daemon=True)
            self._watcher.start()

    def close(self) -> None:
        """Stop watching, and remove the bar from the screen."""
        self._closed.set()
        if self._watcher:
            self._watcher.join()
        self._bar.close()

    def _show(self, text: str, completed: float) -> None:
        self._bar.show(text, completed)
        if self._lines and self._line_is_due():
            self._line_s = self._now_s()
            say(text)

    def _line_is_due(self) -> bool:
        return self._now_s() - self._line_s >= LINE_S

    def _left(self, ended: int) -> str:
        """The time left, if the jobs that remain take as long as those that have ended."""
        if not ended:
            return ""
        left_s = (self._now_s() - self._start_s) / ended * (self._jobs - ended)
        return f", {duration(left_s)} left"


def duration(time_s: float) -> str:
    """A duration for readers: `42 s`, `12 min`, `3.5 h`."""
    if time_s < SECONDS_SHOWN:
        return f"{time_s:.0f} s"
    if time_s < 60 * MINUTES_SHOWN:
        return f"{time_s / 60:.0f} min"
    return f"{time_s / 3600:.1f} h"


@contextmanager
def patience(kernels: Sequence[str], remark: Callable[[str], None]) -> Iterator[None]:
    """In this context, remark after 10 s that the inputs and references of kernels take long."""
    names = ", ".join(dict.fromkeys(kernels))
    line = (
        f"still computing inputs and references of {names}; Ctrl-C stops, fewer workload.tiles "
        "take less, verify=off needs no references"
    )
    # A thread cannot wait for an infinite time, which means that no line is wanted.
    timer = threading.Timer(min(LINE_S, threading.TIMEOUT_MAX), remark, [line])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def measure(
    config: Config,
    experiment: Experiment,
    presentation: Presentation,
    interrupted: Callable[[Callable[[str], None]], None],
    sweep: SweepProgress | None = None,
) -> Outcome:
    """Run an experiment and report its progress.

    interrupted: called at a Ctrl-C with the function that may print at that moment.
    """
    label = config.strategy.label
    measure, exact = config.measure, config.device.is_exact
    passes = 1 + measure.warmup + (measure.fewest if exact else measure.most)
    # A bar that stands still at its end looks like a hang.
    passes += 0 if exact else TURNS * measure.cache_check
    bar = None if sweep else PassBar(label, passes, hidden=presentation.quiet)
    report = bar or (sweep.job(label, passes) if sweep else None)

    def progress(name: str, share: float) -> None:
        if report:
            report(name, share)
        if presentation.verbose and not share:
            log.debug("%s: %s", label, name)

    try:
        with on_delayed_signal(lambda: interrupted(say_from_handler)):
            outcome = experiment.run(progress)
    finally:
        if bar:
            bar.close()
    if outcome.interrupted:  # outside of a pass, the signal is not delayed
        interrupted(say)
    return outcome
