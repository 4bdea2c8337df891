"""Ctrl-C at the right moment: never between the start of a run and its being counted."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupt:
    """Whether Ctrl-C was `heard` while it was held back. Reset `heard` to wait for another one."""

    def __init__(self) -> None:
        self.heard = False

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold Ctrl-C back, where signals can be handled at all: in the main thread; raise it at the end."""
        self.heard = False
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.signal(signal.SIGINT, self._hear)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)
        self.check()

    def check(self) -> None:
        """KeyboardInterrupt if it was heard."""
        if self.heard:
            raise KeyboardInterrupt

    def _hear(self, number: int, frame: FrameType | None) -> None:
        self.heard = True
