"""The command line before Hydra parses it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hydra._internal.utils import get_args_parser

from harness.errors import RequestError, nearest
from harness.study.roadmap import PHASES

BOTH_ACCOUNTINGS = "workload.accounting=guide,full"
OF_ONE_ACCOUNTING = (
    "accounting",
    "model",
    "kernel",
    "chain",
    "links",
    "matmul",
    "attention",
    "layer",
    "weights",
)
"""Keys of a workload that say which, or go with one only."""


def overrides_last(arguments: list[str]) -> list[str]:
    """Flags before overrides: Hydra's parser takes overrides in one piece only."""
    is_override = {text: "=" in text and not text.startswith("-") for text in arguments}
    return sorted(arguments, key=lambda text: is_override[text])


def both_accountings(arguments: list[str]) -> str:
    """What a sweep over phases runs beside them, unless it is told: the roadmap takes both accountings."""
    keys = {text.partition("=")[0] for text in arguments}
    swept = [text.partition("=")[2].split(",") for text in arguments if text.startswith("phase=")]
    phases = len(swept) == 1 and len(swept[0]) > 1 and set(swept[0]) <= set(PHASES)
    told = keys & {"workload", "experiment", *(f"workload.{key}" for key in OF_ONE_ACCOUNTING)}
    return BOTH_ACCOUNTINGS if phases and not told and keys & {"-m", "--multirun"} else ""


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
