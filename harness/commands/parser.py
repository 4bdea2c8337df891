"""The command lines of commands that Hydra does not run: their flags, and overrides that it composes for them."""

from __future__ import annotations

import argparse
from typing import NoReturn

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from harness.config.compose import Config, explain, load
from harness.errors import RequestError


class Parser(argparse.ArgumentParser):
    """Raises RequestError where argparse would print its usage and exit; takes no abbreviated flags."""

    def __init__(self, prog: str, description: str, epilog: str | None = None) -> None:
        super().__init__(prog=prog, description=description, epilog=epilog, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        """RequestError."""
        raise RequestError(f"{message}; `{self.prog} --help` shows what is allowed")


def composed(*overrides: str) -> Config:
    """The configuration of `overrides`; RequestError where it can't be composed. These commands sweep over nothing."""
    try:
        return load(*overrides)
    except (HydraException, OmegaConfBaseException, YAMLError, ValueError, TypeError) as error:
        raise RequestError(
            explain(error).replace("add -m to sweep over them", "give one")
        ) from error
