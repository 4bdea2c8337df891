"""Delays Ctrl-C, SIGTERM and SIGHUP until a point where the program can stop safely.

Between the start of a run and the line that counts it as in flight, KeyboardInterrupt would lose
the run, and destroying a run in flight aborts the process (XRT).
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

SIGNALLED = 128
"""Exit codes above it are those of signals."""
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_last: list[int] = []
_listeners: list[Callable[[], None]] = []


@contextmanager
def on_delayed_signal(listener: Callable[[], None]) -> Iterator[None]:
    """In this context, call `listener` from the handler of every signal that `held` delays.

    The handler interrupts arbitrary code: a listener may write to a file descriptor, but must not
    print through a Python file, whose buffer that code may be writing.
    """
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


def end_orderly() -> None:
    """Handle SIGTERM and SIGHUP like Ctrl-C, so that the power mode and the record are saved."""
    for number in SIGNALS:
        # Python itself handles SIGINT; a signal that the parent ignores (nohup) stays ignored.
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _raise)


def exit_code() -> int:
    """Exit code of a process that a signal stopped: 128 + the signal's number, 130 for Ctrl-C."""
    return SIGNALLED + (_last[-1] if _last else signal.SIGINT)


def _raise(number: int, frame: FrameType | None) -> None:
    _last.append(number)
    raise KeyboardInterrupt


@contextmanager
def blocked() -> Iterator[None]:
    """In this context, the kernel delivers no signal to this thread.

    A signal that Python handles ends a blocking wait of XRT early (EINTR); XRT 2.25 then reports a
    failure of what is still in flight. The signals arrive at the end of the context.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Interrupt:
    """Delays KeyboardInterrupt while code that must not be interrupted runs.

    pending: Ctrl-C (or another of SIGNALS) arrived inside `held`. Set it to False to notice the
    next one.

        with interrupt.held():
            while work:
                interrupt.check()
                start_and_count(work.pop())
    """

    def __init__(self) -> None:
        self.pending = False

    @contextmanager
    def held(self) -> Iterator[None]:
        """Delay the signals during the body, then raise KeyboardInterrupt if one arrived.

        Only signals that Python would turn into an exception are delayed: those of the main
        thread, and none that is ignored (nohup) or has the system's default action.
        """
        self.pending = False
        handlers: dict[int, Callable[[int, FrameType | None], Any]] = {}
        # Python allows signal.signal in the main thread only.
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                handler = signal.getsignal(number)
                if callable(handler):
                    handlers[number] = handler
        try:
            for delayed in handlers:
                signal.signal(delayed, self._mark_pending)
            yield
        finally:
            for delayed, handler in handlers.items():
                signal.signal(delayed, handler)
        # Not in `finally`: an error of the body must not be replaced.
        self.check()

    def check(self) -> None:
        """Raise KeyboardInterrupt if Ctrl-C arrived inside `held`."""
        if self.pending:
            raise KeyboardInterrupt

    def _mark_pending(self, number: int, frame: FrameType | None) -> None:
        _last.append(number)
        self.pending = True
        for listener in _listeners:
            listener()
