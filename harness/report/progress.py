"""A progress bar for long work, where somebody is looking."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

PATIENCE_S = 0.5
REDRAW_S = 0.1


class PassBar:
    """Call it with the name of a pass and its completed share; it draws where that takes long.

    It draws on stderr if that is a terminal, and only when called, because a thread that refreshes
    would disturb the timing.
    """

    def __init__(self, title: str, passes: int) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:3.0f}%"),
            console=Console(stderr=True),
            transient=True,
            auto_refresh=False,
            disable=not sys.stderr.isatty(),
        )
        self._title = title
        self._task = self._progress.add_task(title, total=passes)
        self._begun = 0
        self._next_s = self._progress.get_time() + PATIENCE_S

    def __call__(self, name: str, share: float = 0.0) -> None:
        """A pass begins, or (share > 0) has come so far."""
        if not share:
            self._begun += 1
        now_s = self._progress.get_time()
        if now_s < self._next_s:
            return
        self._next_s = now_s + REDRAW_S
        self._progress.start()
        self._progress.update(
            self._task, description=f"{self._title}: {name}", completed=self._begun - 1 + share
        )
        self._progress.refresh()

    def close(self) -> None:
        """Take the bar off the screen."""
        self._progress.stop()
