"""`python -m harness`."""

from __future__ import annotations

import sys
from pathlib import Path

from harness.device.interrupt import end_orderly, exit_code


def main() -> None:
    """Entry point; exit codes: 0 done and right, 1 failed, 2 wrong request, 130 interrupted."""
    end_orderly()
    try:
        sys.exit(_run())
    except KeyboardInterrupt:
        sys.exit(exit_code())


def say_missing(error: ModuleNotFoundError) -> int:
    """Say what this Python lacks and how to get it; returns the exit code. A Python with pyxrt may lack the rest."""
    print(
        f"harness: {sys.executable} has no {error.name}; install the harness for it (pip install, in the folder of the "
        "source) or use the Python that it is installed for",
        file=sys.stderr,
    )
    return 2


def _run() -> int:
    try:
        here = Path.cwd()
    except FileNotFoundError as error:
        print(
            f"harness: the folder this was started in is gone ({error}); go to another",
            file=sys.stderr,
        )
        return 2
    try:
        from harness.commands.run import Command  # takes long enough for a Ctrl-C to land in it
    except ModuleNotFoundError as error:
        return say_missing(error)
    return Command(here).execute()


if __name__ == "__main__":
    main()
