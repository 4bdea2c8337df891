"""Arguments of commands that Hydra does not run."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from harness.commands.terminal import (
    FORMATS,
    QUIET,
    VERBOSE,
    Presentation,
    log_to_stderr,
    output,
)
from harness.errors import RequestError, nearest

FLAG_SIMILARITY = 0.75
"""Similarity above which a flag is suggested for an unknown one."""


_FLAG = r"argument (\S+?)(?:/\S+)?: "
MESSAGES: dict[str, Callable[[re.Match[str]], str]] = {
    _FLAG + r"not allowed with argument (\S+)": (
        lambda match: f"{match[2]} {match[1]}: several forms of one table; give one"
    ),
    _FLAG + r"expected one argument": (
        lambda match: f"{match[1]}: no value; write {match[1]} <value>"
    ),
    _FLAG + r"ignored explicit argument '(.*)'": (
        lambda match: f"{match[1]}={match[2]}: takes no value; write {match[1]}"
    ),
    _FLAG + r"invalid choice: '(.*)' \(choose from (.*)\)": (
        lambda match: (
            f"{match[1]} {match[2]}: not allowed; "
            f"{nearest(match[2], match[3].replace(chr(39), '').split(', '))}"
        )
    ),
}
"""Pattern of a message of argparse -> function that writes ours."""


def in_plain_words(message: str) -> str:
    """A message of argparse in the form of the other messages; empty without a pattern for it."""
    matches = ((re.fullmatch(pattern, message), each) for pattern, each in MESSAGES.items())
    return next((describe(match) for match, describe in matches if match), "")


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

    def add_config_dir(self) -> None:
        """Take `--config-dir`, as a run does: options.config_dir, None without it."""
        self.add_argument(
            *("--config-dir", "-cd"),
            type=Path,
            metavar="FOLDER",
            help="folder of your own presets and kernels, as a run takes it",
        )

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
        remedy = f"`{self.prog} --help` shows what is allowed"
        if unknown := re.fullmatch("unrecognized arguments: (.*)", message):
            raise RequestError(self._unknown(unknown[1]))
        raise RequestError(in_plain_words(message) or f"{message}; {remedy}")

    def _unknown(self, arguments: str) -> str:
        """The message about arguments, separated by spaces, that the command does not take."""
        first = next((text for text in arguments.split() if text.startswith("-")), "")
        flags = [flag for action in self._actions for flag in action.option_strings]
        if not first:
            return f"{arguments}: one argument too many; `{self.prog} --help` shows what is allowed"
        name = first.partition("=")[0]
        return f"{first}: no such flag; {nearest(name, flags, FLAG_SIMILARITY)}"


def presentation_of(options: argparse.Namespace) -> Presentation:
    """How the parsed flags want tables printed; starts the log on stderr with `-v`."""
    if options.verbose:
        log_to_stderr()
    return Presentation(options.form, options.quiet, options.verbose)
