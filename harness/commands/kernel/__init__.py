"""Start a kernel from an xclbin, and check a kernel.

`inspect` reads an xclbin and its instructions (`read_files`), prints them (`tables`), and writes
the YAML of a kernel (`skeleton`). `check` runs the checks in `checks` and `check_reference`.
In: paths of files, or the name of a kernel. Out: tables, a file below conf/kernel/, and checks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

HELP = "read an xclbin, write the YAML of its kernel, and check a kernel"
USAGE = "python -m harness kernel inspect FILE.xclbin, or kernel check NAME"


def main(arguments: Sequence[str]) -> int:
    """Run the command that the first argument names; returns its exit code."""
    from harness.commands.kernel import check, inspect
    from harness.commands.parser import Parser
    from harness.errors import RequestError, nearest

    commands: dict[str, Callable[[Sequence[str]], int]] = {
        "inspect": inspect.run,
        "check": check.run,
    }
    word, rest = next(iter(arguments), ""), arguments[1:]
    if word in commands:
        return commands[word](rest)
    parser = Parser("kernel", description=HELP.capitalize() + ".", epilog=f"Example: {USAGE}")
    parser.add_argument("command", choices=commands, help="--help after it explains it")
    if word in ("-h", "--help"):
        parser.print_help()
        return 0
    if not word:
        raise RequestError(f"kernel needs a command: {USAGE}")
    raise RequestError(f"kernel {word}: no such command; {nearest(word, commands)}")
