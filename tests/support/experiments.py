"""Runs experiments in this process, and returns their records without storing them."""

from __future__ import annotations

from functools import cache
from typing import Any
from unittest.mock import patch

from hydra import compose, initialize_config_dir

from harness.config.compose import build, compositions, conf_dir, register, resolved
from harness.config.loader import caching_loader
from harness.config.schema import Config
from harness.execution.experiment import Experiment
from harness.results.record import Record, record_of
from support.record_samples import ENVIRONMENT

QUICK = ("tracking=off", "verify=off", "measure.repeats=1", "workload.source=random")


@cache
def request(*overrides: str) -> tuple[Config, dict[str, Any]]:
    """A request as the command line composes it, and what a record stores of it."""
    register()
    with (
        caching_loader(compositions()),
        initialize_config_dir(str(conf_dir()), version_base="1.3"),
    ):
        composed = compose("config", [*QUICK, *overrides])
    return build(composed), resolved(composed)


def record_of_run(*overrides: str) -> Record:
    """The record of one run; its preset has no name."""
    config, stored = request(*overrides)
    with patch("harness.results.record.environment", lambda: ENVIRONMENT):
        return record_of(Experiment(config).run(), stored, "", list(overrides))
