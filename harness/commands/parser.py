"""Arguments of commands that Hydra does not run."""

from __future__ import annotations

import argparse
from typing import Any, NoReturn

from harness.commands.terminal import (
    FORMATS,
    QUIET,
    VERBOSE,
    Presentation,
    log_to_stderr,
    output,
)
from harness.errors import RequestError


class Parser(argparse.ArgumentParser):
    """Raises RequestError where argparse would print its usage and exit.

    Takes no abbreviated flags, so that a new flag never changes what an old command line means.
    """

    def __init__(
        self, command: str, description: str, epilog: str | None = None, *, tables: bool = False
    ) -> None:
        """Parser of `harness <command>`; tables: whether it takes the flags of `Presentation`."""
        super().__init__(
            prog=f"python -m harness {command}",
            description=description,
            epilog=epilog,
            allow_abbrev=False,
        )
        if tables:
            self._add_table_flags()

    def _add_table_flags(self) -> None:
        # As `take_presentation` refuses two forms for a run.
        forms = self.add_mutually_exclusive_group()
        for flag, form in FORMATS.items():
            forms.add_argument(
                flag,
                action="store_const",
                const=form,
                dest="form",
                default="text",
                help=f"print the tables as {form.capitalize() if len(form) > 4 else form.upper()}",
            )
        self.add_argument(*QUIET, action="store_true", help="print tables and errors only")
        self.add_argument(*VERBOSE, action="store_true", help="print log messages on stderr too")

    def print_help(self, file: Any = None) -> None:
        """Print the help to stdout; OutputError where that fails (argparse ignores it)."""
        with output("help"):
            print(self.format_help(), end="")

    def error(self, message: str) -> NoReturn:
        """Raise RequestError."""
        message = message.replace("unrecognized arguments:", "no such flag or argument:")
        raise RequestError(f"{message}; `{self.prog} --help` shows what is allowed")


def presentation_of(options: argparse.Namespace) -> Presentation:
    """How the parsed flags want tables printed; starts the log on stderr with `-v`."""
    if options.verbose:
        log_to_stderr()
    return Presentation(options.form, options.quiet, options.verbose)
