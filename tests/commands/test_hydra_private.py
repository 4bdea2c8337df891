"""The private names of Hydra and argparse that `commands.hydra_private` uses.

A failure names the version that lacks one: adapt hydra_private.py and pyproject.toml's limits.
"""

from __future__ import annotations

import argparse
import inspect
import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from hydra._internal.utils import get_args_parser
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper

from harness.commands import hydra_private
from harness.commands.hydra_private import BasicSweeper, parse, plugin, run_application
from harness.config.compose import SWEEPER_TARGET
from harness.errors import RequestError

VERSIONS = f"Hydra {version('hydra-core')}, Python {platform.python_version()}"


def parameters(function: object) -> list[str]:
    return list(inspect.signature(function).parameters)  # type: ignore[arg-type]


def test_hydras_parser() -> None:
    assert parameters(get_args_parser) == [], VERSIONS
    with hydra_private._any_help():
        parser = get_args_parser()
    assert isinstance(parser, argparse.ArgumentParser), VERSIONS
    known, unknown = parser.parse_known_args(["-m", "a=1", "--nope"])
    assert (known.multirun, known.overrides, unknown) == (True, ["a=1"], ["--nope"]), VERSIONS
    printing = {"help", "hydra_help", "cfg", "info", "shell_completion"}
    assert printing <= set(vars(known)), VERSIONS


def test_argparse() -> None:
    parser = argparse.ArgumentParser()
    assert [flag for action in parser._actions for flag in action.option_strings] == [
        "-h",
        "--help",
    ], VERSIONS
    assert hasattr(argparse, "_ActionsContainer"), VERSIONS
    container = argparse._ActionsContainer
    if sys.version_info >= (3, 14):
        assert parameters(container._check_help) == ["self", "action"], VERSIONS
    assert parameters(parser.error) == ["message"], VERSIONS


def test_the_basic_sweeper() -> None:
    assert issubclass(BasicSweeper, Sweeper), VERSIONS
    expected = {
        "setup": ["self", "hydra_context", "task_function", "config"],
        "sweep": ["self", "arguments"],
        "split_arguments": ["overrides", "max_batch_size"],
        "_parse_config": ["self"],
        "validate_batch_is_legal": ["self", "batch"],
    }
    found = {name: parameters(getattr(BasicSweeper, name)) for name in expected}
    assert found == expected, VERSIONS
    registered = Plugins.instance().class_name_to_class
    name = f"{BasicSweeper.__module__}.BasicSweeper"
    assert registered[name] is BasicSweeper, f"{VERSIONS}: imported before the scan of plugins"


def test_a_plugin_is_there_for_a_time_only() -> None:
    class Mine(BasicSweeper):
        """Does nothing new."""

    plugins = Plugins.instance()
    module = SWEEPER_TARGET.rpartition(".")[0]
    before = set(plugins.discover(Sweeper)), set(sys.modules), set(plugins.class_name_to_class)
    with plugin(Mine, SWEEPER_TARGET):
        assert plugins.class_name_to_class[SWEEPER_TARGET] is Mine, VERSIONS
        assert Mine in plugins.discover(Sweeper), VERSIONS
        assert sys.modules[module].CheckedSweeper is Mine
    after = set(plugins.discover(Sweeper)), set(sys.modules), set(plugins.class_name_to_class)
    assert after == before, VERSIONS


def test_the_application_leaves_the_process_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.yaml").write_text("word: found\n")
    monkeypatch.setattr(sys, "argv", ["mine", "arguments"])
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    run_application(lambda config: None, ["--cfg", "job"], tmp_path)
    assert capsys.readouterr().out == "word: found\n", VERSIONS
    assert sys.argv == ["mine", "arguments"]
    assert "HYDRA_FULL_ERROR" not in os.environ


@pytest.mark.parametrize(
    ("arguments", "prints"),
    [
        (["-m", "a=1,2"], False),
        (["--cfg", "job"], True),
        (["--help"], True),
        (["--hydra-help"], True),
        (["--info"], True),
        ([], False),
    ],
    ids=str,
)
def test_which_flags_run_nothing(arguments: list[str], prints: bool) -> None:
    assert parse(arguments).prints is prints


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("-v", "-v: no such flag; allowed: --cfg, "),
        ("-q", "-q: no such flag; allowed: --cfg, "),
        ("-x", "-x: no such flag; allowed: --cfg, --config-dir, "),
        ("--multrun", "--multrun: no such flag; did you mean --multirun? Allowed: --cfg, "),
        ("--verbose", "--verbose: no such flag; allowed: --cfg, "),
        ("--cfg jobs", "--cfg jobs: not allowed; did you mean job? Allowed: all, hydra, job"),
        ("--config-dir", "--config-dir: no value; write --config-dir <value>"),
    ],
)
def test_a_wrong_flag(arguments: str, message: str) -> None:
    with pytest.raises(RequestError) as refused:
        parse(arguments.split())
    assert str(refused.value).startswith(message)
    if "no such flag" in message:
        assert str(refused.value).endswith(" -r, -sc"), "short flags too"
