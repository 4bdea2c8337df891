"""`python -m harness`."""

from __future__ import annotations

import sys

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells give it."""


def main() -> None:
    """Entry point; exit codes: 0 done and right, 1 failed, 2 wrong request, 130 interrupted."""
    try:
        from harness.command import Command  # takes long enough for a Ctrl-C to land in it

        code = Command().execute()
    except KeyboardInterrupt:
        code = INTERRUPTED
    sys.exit(code)


if __name__ == "__main__":
    main()
