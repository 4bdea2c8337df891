"""A progress bar for long work, where somebody is looking."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

PATIENCE_S = 0.5


class PassBar:
    """Call it with the name of each pass that begins; draws on stderr if that is a terminal and work takes long.

    It draws between passes only: a thread that refreshes would disturb the timing inside them.
    """

    def __init__(self, title: str, passes: int) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            console=Console(stderr=True),
            transient=True,
            auto_refresh=False,
            disable=not sys.stderr.isatty(),
        )
        self._title = title
        self._task = self._progress.add_task(title, total=passes)
        self._begin_s = self._progress.get_time()
        self._drawn = False

    def __call__(self, name: str) -> None:
        """A pass begins."""
        if not self._drawn and self._progress.get_time() - self._begin_s < PATIENCE_S:
            self._progress.advance(self._task)
            return
        if not self._drawn:
            self._progress.start()
            self._drawn = True
        self._progress.update(self._task, description=f"{self._title}: {name}")
        self._progress.refresh()
        self._progress.advance(self._task)

    def close(self) -> None:
        """Take the bar off the screen."""
        self._progress.stop()
