"""Private names of Hydra and argparse that commands use, so that a new version breaks one module.

tests/commands/test_hydra_private.py checks that each name exists and reports a version without it.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.plugins import Plugins
from hydra.plugins.plugin import Plugin
from omegaconf import DictConfig

from harness.commands.parser import FLAG_SIMILARITY, in_plain_words
from harness.config.loader import Compositions, caching_loader
from harness.errors import RequestError, nearest

# Its scan executes the core plugins again: Hydra does not use classes imported before it.
_plugins = Plugins.instance()
from hydra._internal.core_plugins.basic_launcher import BasicLauncher as BasicLauncher  # noqa: E402
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper as BasicSweeper  # noqa: E402

FULL_ERROR = "HYDRA_FULL_ERROR"
"""Environment variable that makes Hydra raise to its caller instead of printing and exiting."""


@dataclass(frozen=True)
class Arguments:
    """words: positional arguments. prints: whether Hydra only prints and runs no job."""

    words: list[str]
    prints: bool


def parse(arguments: Sequence[str], other_flags: Sequence[str] = ()) -> Arguments:
    """What Hydra's parser reads from `arguments`; RequestError where it would exit.

    other_flags: flags that were taken out before; the message for an unknown flag lists them too.
    """

    def refuse(message: str) -> NoReturn:
        remedy = "--hydra-help explains the flags"
        raise RequestError(in_plain_words(message) or f"{message}; {remedy}")

    with _any_help():
        # Hydra's own parser, so that flags mean here what they mean to Hydra.
        parser = get_args_parser()
    setattr(parser, "error", refuse)  # noqa: B010 - mypy refuses to assign to a method
    known, unknown = parser.parse_known_args(arguments)
    flags = [flag for action in parser._actions for flag in action.option_strings]
    for argument in unknown:
        if argument.startswith("-"):
            remedy = nearest(argument, {*flags, *other_flags}, FLAG_SIMILARITY)
            raise RequestError(f"{argument}: no such flag; {remedy}")
    printing = (known.help, known.hydra_help, known.cfg, known.info, known.shell_completion)
    return Arguments(known.overrides, any(printing))


def run_application(
    job: Callable[[DictConfig], None],
    arguments: Sequence[str],
    conf: Path,
    compositions: Compositions | None = None,
) -> None:
    """Let Hydra parse `arguments`, compose the configuration in `conf`, and call `job`, or print.

    `job` is called once, or for each job of a sweep. Raises what `job` and Hydra raise.
    compositions: of calls before with the same folders of presets.
    """
    application = hydra.main(version_base="1.3", config_path=str(conf), config_name="config")(job)
    argv, full_error = sys.argv, os.environ.get(FULL_ERROR)
    # hydra.main reads sys.argv, and without the variable prints errors itself and exits.
    sys.argv, os.environ[FULL_ERROR] = [argv[0], *arguments], "1"
    try:
        with _any_help(), caching_loader(compositions):
            application()
    finally:
        sys.argv = argv
        if full_error is None:
            del os.environ[FULL_ERROR]
        else:
            os.environ[FULL_ERROR] = full_error


@contextmanager
def plugin(cls: type[Plugin], target: str) -> Iterator[None]:
    """Make a plugin class available to Hydra as `target`, a dotted path, in this context.

    Hydra instantiates only what it can import from the package hydra_plugins, so this package
    gets a module with the class.
    """
    name, _, cls.__qualname__ = target.rpartition(".")
    cls.__module__, cls.__name__ = name, cls.__qualname__
    module, package = ModuleType(name), name.partition(".")[0]
    setattr(module, cls.__name__, cls)
    added = {name: module}
    if package not in sys.modules:
        added[package] = ModuleType(package)
    sys.modules.update(added)
    setattr(sys.modules[package], name.rpartition(".")[2], module)
    _plugins.register(cls)
    try:
        yield
    finally:
        forget_plugin(target)
        delattr(sys.modules[package], name.rpartition(".")[2])
        for each in added:
            del sys.modules[each]


def forget_plugin(target: str) -> None:
    """Take a plugin class out of Hydra's registry, if it is there."""
    cls = _plugins.class_name_to_class.pop(target, None)
    for registered in _plugins.plugin_type_to_subclass_list.values():
        if cls in registered:
            registered.remove(cls)


@contextmanager
def _any_help() -> Iterator[None]:
    """Let argparse accept a help text that is not a string, which one of Hydra's flags has.

    Python 3.14's argparse rejects it (hydra #3121).
    """
    container: Any = argparse._ActionsContainer
    check = getattr(container, "_check_help", None)
    if check:
        container._check_help = lambda parser, action: None
    try:
        yield
    finally:
        if check:
            container._check_help = check
