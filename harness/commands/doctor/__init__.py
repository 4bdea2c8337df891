"""Check whether runs on the hardware can work here, and report what is missing.

A check is a function of a `check.Subject` that returns a `check.Check`; `command` lists and runs them.
In: the request, and the machine. Out: a line for each check, with its remedy.
"""

from __future__ import annotations

from collections.abc import Sequence

HELP = "check whether this machine can run on its NPU"


def main(arguments: Sequence[str]) -> int:
    """Print a line for each check and a summary; 1 if one failed, or could not be made for lack of packages."""
    from harness.commands.main import missing
    from harness.commands.terminal import say

    try:
        from harness.commands.doctor.command import run
    except ModuleNotFoundError as error:
        say(missing(error))
        return 1
    return run(arguments)
