"""A progress bar for long work, on a terminal only."""

from __future__ import annotations

import os
import sys

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

PATIENCE_S = 0.5
"""Work that takes less time shows no bar."""
REDRAW_S = 0.1


class PassBar:
    """Call it with the name of a pass and its completed share; it draws once work takes long.

    It draws on stderr, if that is a terminal that can move its cursor. It draws only when called,
    because a thread that refreshes would disturb the timing.
    """

    def __init__(self, title: str, passes: int, *, hidden: bool = False) -> None:
        """A bar of `passes` steps; hidden: never draw it."""
        dumb = os.environ.get("TERM", "") in ("dumb", "unknown", "")
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:3.0f}%"),
            console=Console(stderr=True, no_color=bool(os.environ.get("NO_COLOR")) or None),
            transient=True,
            auto_refresh=False,
            redirect_stdout=False,
            disable=hidden or dumb or not sys.stderr.isatty(),
        )
        self._title = title
        self._task = self._progress.add_task(title, total=passes)
        self._begun = 0
        # Rich's own clock, because only `device` may read clocks.
        self._next_s = self._progress.get_time() + PATIENCE_S

    def __call__(self, name: str, share: float = 0.0) -> None:
        """A pass begins (share 0), or has completed this share of its work."""
        if not share:
            self._begun += 1
        self.show(f"{self._title}: {name}", self._begun - 1 + share)

    def show(self, description: str, completed: float) -> None:
        """Draw the bar with a text and a number of completed passes, if it is time to."""
        now_s = self._progress.get_time()
        if now_s < self._next_s:
            return
        self._next_s = now_s + REDRAW_S
        self._progress.start()
        self._progress.update(self._task, description=description, completed=completed)
        self._progress.refresh()

    def close(self) -> None:
        """Remove the bar from the screen."""
        self._progress.stop()
