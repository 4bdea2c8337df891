"""Runs inside a process under test: reports by a file that a function has been called."""

from __future__ import annotations

import importlib
import os
import time
from itertools import count
from pathlib import Path
from typing import Any

from support.fork_server import POLL_S


def mark(function: str, path: str, number: int) -> None:
    """Create file `path` when call `number` (from 1) of `function` (module:attribute) begins."""
    module, _, names = function.partition(":")
    owner: Any = importlib.import_module(module)
    *outer, name = names.split(".")
    for each in outer:
        owner = getattr(owner, each)
    original, calls = getattr(owner, name), count(1)

    def marked(*arguments: Any, **options: Any) -> Any:
        if next(calls) == number:
            Path(path).touch()
        return original(*arguments, **options)

    setattr(owner, name, marked)


def count_calls(function: str, path: str) -> None:
    """Append a line to the file `path` at each call of `function`, named module:attribute."""
    module, _, names = function.partition(":")
    owner: Any = importlib.import_module(module)
    *outer, name = names.split(".")
    for each in outer:
        owner = getattr(owner, each)
    original = getattr(owner, name)

    def counted(*arguments: Any, **options: Any) -> Any:
        with Path(path).open("a") as file:
            file.write(f"{function}\n")
        return original(*arguments, **options)

    setattr(owner, name, counted)


def wait_in(function: str, path: str) -> None:
    """Let every call of `function`, named module:attribute, begin when the file `path` exists."""
    module, _, name = function.partition(":")
    owner: Any = importlib.import_module(module)
    original, parent = getattr(owner, name), os.getppid()

    def waiting(*arguments: Any, **options: Any) -> Any:
        # A failed test ends without the file: its process must not outlive it.
        while not Path(path).exists() and os.getppid() == parent:
            time.sleep(POLL_S)
        return original(*arguments, **options)

    setattr(owner, name, waiting)
