"""Find the command that is named, run it, and turn its errors into a line and an exit code.

Exit codes: 0 completed and right; 1 failed, or right but not stored, or not in MLflow;
2 wrong request; 130 interrupted (143 after SIGTERM, 129 after SIGHUP).

Imports only the standard library before a command is chosen: imports take long enough for a Ctrl-C
to arrive during them, and a Python that lacks packages gets a message.
"""

from __future__ import annotations

import gc
import logging
import pkgutil
import sys
from collections.abc import Sequence
from importlib import import_module, metadata
from itertools import takewhile
from pathlib import Path
from traceback import walk_tb
from typing import Protocol, cast

from harness import commands
from harness.commands.terminal import PRESENTATION_FLAGS, output, say
from harness.device.interrupt import end_orderly, exit_code
from harness.errors import HarnessError, RequestError, nearest

DEFAULT = "run"
HELP_WORD = "help"
"""`harness help COMMAND` is `harness COMMAND --help`; not a command of its own."""
COMMAND_SIMILARITY = 0.6
"""Similarity of a word to the name of a command above which that name is suggested."""


class Command(Protocol):
    """A module of this package that is a command; its name is the module's, with - for _.

    HELP: what the command does, in one line. main: runs it; HarnessError for what a user can fix.
    """

    HELP: str

    def main(self, arguments: Sequence[str]) -> int:
        """Returns the exit code."""


def main() -> None:
    """Run the harness on the arguments of this process, and exit."""
    end_orderly()
    logging.raiseExceptions = False  # a log that cannot be written does not fail a run
    # Composing creates tens of thousands of objects; collecting them took 15 ms per job.
    gc.set_threshold(50_000, 20, 100)
    sys.exit(dispatch(sys.argv[1:]))


def dispatch(arguments: Sequence[str]) -> int:
    """Run the command that `arguments` name; returns the exit code."""
    try:
        code = _run(arguments)
        with output("output"):  # flushes what Python still buffers
            return code
    except HarnessError as error:
        say(str(error))
        return error.exit_code
    except ImportError as error:
        package = _package(error)
        if package == commands.__name__.partition(".")[0]:
            raise
        say(missing(error) if isinstance(error, ModuleNotFoundError) else broken(package, error))
        return RequestError.exit_code
    except KeyboardInterrupt:
        say("interrupted")
        return exit_code()


def _run(words: Sequence[str]) -> int:
    arguments = list(words)
    try:
        Path.cwd()
    except FileNotFoundError as error:
        raise RequestError(
            f"the current folder does not exist any more ({error}); change to another"
        ) from error
    if arguments[:1] == [HELP_WORD]:
        if arguments[1:] and not find(arguments[1]):
            raise no_command(arguments[1])
        arguments = [*arguments[1:], "--help"]
    flags = list(takewhile(PRESENTATION_FLAGS.__contains__, arguments))
    first, *rest = arguments[len(flags) :] or [""]
    try:
        if first == "--version":
            with output("version"):
                print(version())
            return 0
        if command := find(first):
            return command.main([*flags, *rest])
        return cast(Command, import_module(f"{commands.__name__}.{DEFAULT}")).main(arguments)
    except SystemExit as ended:  # argparse and Hydra exit after --help
        return ended.code if isinstance(ended.code, int) else int(bool(ended.code))


def find(word: str) -> Command | None:
    """The command with that name, or None."""
    names = {module.name for module in pkgutil.iter_modules(commands.__path__)}
    if word not in map(_word, names):
        return None
    module = import_module(f"{commands.__name__}.{word.replace('-', '_')}")
    return cast(Command, module) if hasattr(module, "HELP") else None


def _word(module: str) -> str:
    """The name of a command by that of its module, which cannot contain a hyphen."""
    return module.replace("_", "-")


def all_commands() -> dict[str, Command]:
    """Every command by name: the default one first, the others in alphabetical order."""
    names = sorted(_word(module.name) for module in pkgutil.iter_modules(commands.__path__))
    names.sort(key=lambda name: name != DEFAULT)
    return {name: command for name in names if (command := find(name))}


def no_command(word: str) -> RequestError:
    """The error for a first argument that is neither a command, nor a flag, nor an override."""
    suggestion = nearest(word, all_commands(), COMMAND_SIMILARITY)
    return RequestError(f"{word}: no such command; {suggestion}; overrides are key=value")


def version() -> str:
    """The versions of the harness and of Hydra, which parses the command line of a run."""
    try:
        own = metadata.version("npu-harness")
    except metadata.PackageNotFoundError:
        own = "(run from its source, not installed)"
    return f"harness {own}, Hydra {metadata.version('hydra-core')}"


def _package(error: ImportError) -> str:
    """The package that cannot be imported: that of the error, or of the code that raised it."""
    if error.name:
        return error.name.partition(".")[0]
    frames = [str(frame.f_globals.get("__name__", "")) for frame, _ in walk_tb(error.__traceback__)]
    return frames[-1].partition(".")[0] if frames else ""


def broken(package: str, error: ImportError) -> str:
    """Report a package that is installed but cannot be imported, as one without its libraries."""
    reason = " ".join(str(error).split()) or "ImportError"
    return (
        f"{sys.executable} cannot import {package or 'a package'} ({reason}); install that "
        "package again, or use the Python that has the harness"
    )


def missing(error: ModuleNotFoundError) -> str:
    """Report a missing package and how to install it: a Python with pyxrt may lack the others."""
    return (
        f"{sys.executable} has no {error.name}; install the harness for it (pip install . in the "
        "source folder) or use the Python that has the harness"
    )
