"""Lines on stderr, and output on stdout, which may be a closed pipe or a full disk."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from harness.errors import HarnessError

if TYPE_CHECKING:  # rich is imported by commands that print tables: this module works without it
    from rich.table import Table


class OutputError(HarnessError):
    """Standard output cannot be written."""


def say(line: str) -> None:
    """Print a message to the user on stderr; nothing if stderr is closed."""
    with suppress(OSError):
        print(f"harness: {line}", file=sys.stderr, flush=True)


@contextmanager
def output(what: str, remedy: str = "free space") -> Iterator[None]:
    """Print to stdout in this context; `what` is printed, for the message of the OutputError.

    A closed pipe is not an error, because its reader wants no more: the rest is discarded.
    """
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        _discard_stdout()
    except OSError as error:
        _discard_stdout()
        raise OutputError(f"the {what} cannot be printed ({error}); {remedy}") from error


def show(parts: Sequence[Table | str], what: str, remedy: str = "free space") -> None:
    """Print tables and lines one below the other; OutputError as `output`."""
    from harness.report.tables import console, draw

    with output(what, remedy):
        draw(parts, console())


def _discard_stdout() -> None:
    """Discard what is buffered and all that follows: Python flushes again at exit."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)
