"""Run the main command inside another program: records instead of a table, exceptions instead of
exit codes.
"""

from __future__ import annotations

import gc
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness.commands.hydra_argv import check_config_dir, config_dir
from harness.commands.run import Invocation
from harness.commands.terminal import Messages, Presentation
from harness.device.interrupt import SIGNALLED
from harness.errors import HarnessError, RequestError
from harness.results.record import Record


class Lines(Messages):
    """Keeps the messages instead of printing them."""

    def __init__(self) -> None:
        super().__init__(quiet=True)
        self.lines: list[str] = []

    def say(self, line: str, subject: str = "", by: Callable[[str], None] | None = None) -> None:
        """Keep a message."""
        super().say(line, subject, self.lines.append)


@dataclass
class NotebookInvocation(Invocation):
    """An invocation that prints nothing; shown: the runs of its table."""

    shown: Sequence[tuple[Record, Path]] = ()

    def _show(self, runs: Sequence[tuple[Record, Path]], *lines: str) -> None:
        self.shown = runs


def invoke(arguments: Sequence[str]) -> list[Record]:
    """Run the main command; returns its records in the order of the jobs.

    RequestError if nothing ran because of a wrong request, HarnessError if nothing ran for another
    reason; other failures are warnings. KeyboardInterrupt after an interrupt, when everything is
    stored.
    """
    check_config_dir(config_dir(arguments))
    invocation = NotebookInvocation(arguments, Presentation(quiet=True))
    invocation.messages = messages = Lines()
    with _own_logging():
        code = invocation.execute()
    if code > SIGNALLED:
        raise KeyboardInterrupt
    message = "; ".join(messages.lines)
    if not invocation.shown:
        raise RequestError(message) if code == RequestError.exit_code else HarnessError(message)
    if message:
        # The caller of `harness.api.run` or `sweep`.
        warnings.warn(message, stacklevel=3)
    return [record for record, _ in invocation.shown]


@contextmanager
def _own_logging() -> Iterator[None]:
    """Undo afterwards what Hydra and a sweep change in this process."""
    root = logging.getLogger()
    handlers, level, frozen = root.handlers[:], root.level, gc.get_freeze_count()
    try:
        yield
    finally:
        for handler in root.handlers[:]:
            if handler not in handlers:
                root.removeHandler(handler)
                handler.close()
        root.handlers[:], root.level = handlers, level
        # A sweep freezes what exists when it begins; the program may have frozen objects itself.
        if not frozen:
            gc.unfreeze()
