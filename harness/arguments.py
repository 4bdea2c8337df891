"""The command lines of commands that Hydra does not compose."""

from __future__ import annotations

import argparse
from typing import NoReturn

from harness.errors import RequestError


class Parser(argparse.ArgumentParser):
    """Raises RequestError where argparse would print its usage and exit; takes no abbreviated flags."""

    def __init__(self, prog: str, description: str, epilog: str | None = None) -> None:
        super().__init__(prog=prog, description=description, epilog=epilog, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        """RequestError."""
        raise RequestError(f"{message}; `{self.prog} --help` shows what is allowed")
