"""Start a kernel from an xclbin, and check a kernel.

`inspect` reads an xclbin and its instructions (`read_files`), prints them, and writes the YAML of a
kernel (`skeleton`).
In: paths of files. Out: tables, and a file below conf/kernel/.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

HELP = "read an xclbin and write the YAML of its kernel"
USAGE = "python -m harness kernel inspect FILE.xclbin"


def main(arguments: Sequence[str]) -> int:
    """Run the command that the first argument names; returns its exit code."""
    from harness.commands.kernel import inspect
    from harness.commands.parser import Parser
    from harness.errors import RequestError, nearest

    commands: dict[str, Callable[[Sequence[str]], int]] = {"inspect": inspect.run}
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
