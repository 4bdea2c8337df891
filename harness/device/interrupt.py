"""Ctrl-C and other ends from outside, at the right moment: never between the start of a run and its being counted."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_last: list[int] = []


def end_orderly() -> None:
    """Have SIGTERM and SIGHUP end this process as Ctrl-C does: a power mode is restored, a record written."""
    for number in ENDS:
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _raise)


def exit_code() -> int:
    """What the shell is answered after an end from outside: 128 and the signal's number, 130 for Ctrl-C."""
    return 128 + (_last[-1] if _last else signal.SIGINT)


def _raise(number: int, frame: FrameType | None) -> None:
    _last.append(number)
    raise KeyboardInterrupt


class Interrupt:
    """Whether an end was `heard` while it was held back. Reset `heard` to wait for another one."""

    def __init__(self) -> None:
        self.heard = False

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold ends back, and raise what came at the end of it.

        Only what Python would raise: in the main thread, and no signal that is ignored (nohup) or left to the system.
        """
        self.heard = False
        before = {}
        if threading.current_thread() is threading.main_thread():
            before = {
                number: handler for number in ENDS if callable(handler := signal.getsignal(number))
            }
        try:
            for number in before:
                signal.signal(number, self._hear)
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        self.check()

    def check(self) -> None:
        """KeyboardInterrupt if one was heard."""
        if self.heard:
            raise KeyboardInterrupt

    def _hear(self, number: int, frame: FrameType | None) -> None:
        _last.append(number)
        self.heard = True
