"""Check whether runs on the hardware can work here, and report what is missing.

A check is a function from a `check.Subject` to a `check.Check`; `command` lists and runs them.
In: the request, and the machine. Out: a line for each check, with its remedy.
"""

from __future__ import annotations

from collections.abc import Sequence

HELP = "check whether this machine can run on its NPU"


def main(arguments: Sequence[str]) -> int:
    """Print a line for each check and a summary.

    Returns 1 if a check failed, or if a package that the checks need is missing.
    """
    from harness.commands.main import missing
    from harness.commands.terminal import say

    try:
        from harness.commands.doctor.command import run
    except ModuleNotFoundError as error:
        say(missing(error))
        return 1
    return run(arguments)
