"""The command line before Hydra parses it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hydra._internal.utils import get_args_parser

from harness.errors import RequestError, nearest

BOTH_ACCOUNTINGS = "workload.accounting=guide,full"


def overrides_last(arguments: list[str]) -> list[str]:
    """Flags before overrides: Hydra's parser takes overrides in one piece only."""
    is_override = {text: "=" in text and not text.startswith("-") for text in arguments}
    return sorted(arguments, key=lambda text: is_override[text])


def both_accountings(arguments: list[str]) -> str:
    """What a sweep over phases runs beside them, unless it is told: the roadmap takes both accountings."""
    keys = {text.partition("=")[0] for text in arguments}
    swept = any(text.startswith("phase=") and "," in text for text in arguments)
    told = keys & {"workload", "workload.accounting", "experiment"}
    return BOTH_ACCOUNTINGS if swept and not told and keys & {"-m", "--multirun"} else ""


@contextmanager
def unchecked_help() -> Iterator[None]:
    """Have argparse take Hydra's help of a flag that is no text: from Python 3.14 on it looks (hydra #3121)."""
    container: Any = argparse._ActionsContainer
    check = getattr(container, "_check_help", None)
    if check:
        container._check_help = lambda parser, action: None
    try:
        yield
    finally:
        if check:
            container._check_help = check


def refuse_unknown_flags(arguments: list[str]) -> None:
    """RequestError for a flag that Hydra has not, before its parser answers with a page."""
    parser = get_args_parser()
    known = [flag for action in parser._actions for flag in action.option_strings]
    for given in parser.parse_known_args(arguments)[1]:
        if given.startswith("-"):
            raise RequestError(f"{given}: no such flag; {nearest(given, known)}")
