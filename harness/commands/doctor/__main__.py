"""`python -m harness.commands.doctor`."""

from __future__ import annotations

import sys
from pathlib import Path

from harness.__main__ import say_missing


def main() -> int:
    """Entry point; returns the exit code, 130 after Ctrl-C."""
    try:
        Path.cwd()
    except FileNotFoundError as error:
        print(
            f"harness: the folder this was started in is gone ({error}); go to another",
            file=sys.stderr,
        )
        return 2
    try:
        from harness.commands.doctor.command import (
            run,  # takes long enough for a Ctrl-C to land in it
        )

        return run(sys.argv[1:])
    except ModuleNotFoundError as error:
        say_missing(error)
        return 1
    except KeyboardInterrupt:
        print("harness: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
