"""Lines on stderr, and output on stdout, which may be a closed pipe or a full disk."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.errors import HarnessError

if TYPE_CHECKING:  # rich is imported by commands that print tables: this module works without it
    from rich.console import Console

    from harness.report.tables import Part

FORMATS = {"--csv": "csv", "--json": "json", "--markdown": "markdown"}
"""Flags that choose the form of the tables."""
STDERR = 2
CLEAR_LINE = "\r\x1b[K"
PLAIN = (None, "", "dumb", "unknown")
"""Values of TERM for terminals without control sequences."""
QUIET, VERBOSE = ("-q", "--quiet"), ("-v", "--verbose")
PRESENTATION_FLAGS = (*FORMATS, *QUIET, *VERBOSE)
"""Flags of all commands that print tables; Hydra does not know them."""


class OutputError(HarnessError):
    """Standard output cannot be written."""


@dataclass(frozen=True)
class Presentation:
    """How a command prints: `form` is the name of a `harness.report.tables.Format`.

    quiet: tables and errors only. verbose: log messages go to stderr too.
    """

    form: str = "text"
    quiet: bool = False
    verbose: bool = False

    @property
    def for_readers(self) -> bool:
        """Whether remarks and closing lines may follow a table: not in CSV, JSON and Markdown."""
        return self.form == "text" and not self.quiet


def stderr_redraws() -> bool:
    """Whether stderr is a terminal that can move its cursor."""
    return os.environ.get("TERM") not in PLAIN and sys.stderr.isatty()


def say(line: str) -> None:
    """Print a message to the user on stderr; nothing if stderr is closed."""
    with suppress(OSError):
        print(f"harness: {line}", file=sys.stderr, flush=True)


def say_from_handler(line: str) -> None:
    """Print a message on stderr from a signal handler; nothing if stderr is closed.

    Writes to the file descriptor, because `print` raises RuntimeError while the interrupted code is
    itself writing to stderr. On a terminal, the line takes the place of a progress bar.
    """
    with suppress(OSError):
        start = CLEAR_LINE if os.isatty(STDERR) and os.environ.get("TERM") not in PLAIN else ""
        os.write(STDERR, f"{start}harness: {line}\n".encode())


class Messages:
    """Messages of one command, each printed once; with `quiet`, errors only.

    Of messages about the same `subject`, only the first is printed.
    """

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._printed = set[str]()
        self._held = ""

    def hold(self, line: str) -> None:
        """Print a message with the next one that has no subject, or at `release`."""
        self._held = line

    def release(self) -> None:
        """Print the message that is held, if there is one."""
        held, self._held = self._held, ""
        if held:
            self.say(held)

    def say(self, line: str, subject: str = "", by: Callable[[str], None] = say) -> None:
        """Print a message; by: the function that prints it, for signal handlers."""
        if self._held and not subject:
            line, self._held = f"{self._held}; {line}", ""
        if (subject or line) not in self._printed:
            self._printed.add(subject or line)
            by(line)

    def remark(self, line: str, subject: str = "") -> None:
        """Print a message that is not an error."""
        if not self._quiet:
            self.say(line, subject or line)


@contextmanager
def output(
    what: str, remedy: str = "free space", *, others: tuple[type[BaseException], ...] = ()
) -> Iterator[None]:
    """Print to stdout in this context; `what` is printed, for the message of the OutputError.

    A closed pipe is not an error, because its reader wants no more: the rest is discarded.
    others: errors that are OSErrors, but not of stdout.
    """
    try:
        yield
        sys.stdout.flush()
    except others:
        raise
    except BrokenPipeError:
        _discard_stdout()
    except OSError as error:
        _discard_stdout()
        raise OutputError(f"the {what} cannot be printed ({error}); {remedy}") from error


def show(
    parts: Sequence[Part],
    what: str,
    presentation: Presentation | None = None,
    remedy: str = "free space",
    *,
    lines: bool = False,
) -> None:
    """Print tables and lines one below the other; OutputError as `output`.

    With `-q` only the tables are printed; lines: the lines too.
    """
    from harness.report.tables import Format, draw, formatted

    wanted = presentation or Presentation()
    if wanted.quiet and not lines:
        parts = [part for part in parts if not isinstance(part, str)]
    with output(what, remedy):
        if wanted.form == Format.text.value:
            console = _console()
            draw(parts, console, _width(console))
        else:
            print(formatted(parts, Format(wanted.form)), end="")


def log_to_stderr() -> None:
    """Send the harness's log messages of every level to stderr, for commands without Hydra."""
    logger = logging.getLogger("harness")
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("harness: %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)


def _console() -> Console:
    """A console on stdout: plain with NO_COLOR (no-color.org), on a dumb terminal, in a file."""
    from rich.console import Console

    class PipeConsole(Console):
        """Leaves a broken pipe to the caller; rich would exit."""

        def on_broken_pipe(self) -> None:
            raise BrokenPipeError

    colours = None if os.environ.get("NO_COLOR") else "auto"
    return PipeConsole(highlight=False, emoji=False, color_system=colours)  # type: ignore[arg-type]


def _width(console: Console) -> int | None:
    """The width of the terminal; None in a file, and on a dumb terminal without COLUMNS."""
    if not sys.stdout.isatty():
        return None
    if not console.is_dumb_terminal:
        return console.width
    # Here rich neither asks the terminal nor reads COLUMNS.
    columns = os.environ.get("COLUMNS", "")
    return int(columns) if columns.isdecimal() and int(columns) else None


def _discard_stdout() -> None:
    """Discard what is buffered and all that follows: Python flushes again at exit."""
    null = os.open(os.devnull, os.O_WRONLY)
    # The descriptor, not sys.stdout: what is buffered has to go somewhere too.
    os.dup2(null, 1)
    os.close(null)
