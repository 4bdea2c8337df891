"""Tests copy configurations as OmegaConf does."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf
from omegaconf.base import Metadata, Node
from support import config_copies

from harness.config.compose import conf_dir, register


@pytest.fixture(scope="module")
def config() -> DictConfig:
    """A configuration with flags and with a resolved value in its cache."""
    register()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        composed = compose("config", ["device.faults.hang=[1,2]"], return_hydra_config=True)
    OmegaConf.set_readonly(composed.hydra.job, True)
    assert composed.hydra.run.dir  # the resolver of the time keeps its value
    return composed


def parts(node: Node, parent: Any = None) -> list[Any]:
    """All that a node stores, and whether it knows its parent."""
    own = node.__dict__
    content = own.get("_content")
    below = list(content.items() if isinstance(content, dict) else enumerate(content or []))
    if isinstance(content, str):
        below = []
    named = {key: own[key] for key in sorted(own) if key not in ("_parent", "_content")}
    keys = [key for key, _ in below]
    stored = [type(node), sorted(own), repr(named), own["_parent"] is parent, keys]
    return [*stored, *(part for _, each in below for part in parts(each, node))]


def test_a_copy_is_omegaconfs(config: DictConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    copied = copy.deepcopy(config)
    monkeypatch.delattr(Metadata, "__deepcopy__")
    for cls, original in config_copies.ORIGINAL.items():
        monkeypatch.setattr(cls, "__deepcopy__", original)
    assert parts(copied) == parts(copy.deepcopy(config))


def test_a_copy_is_independent(config: DictConfig) -> None:
    before = parts(config)
    copied = copy.deepcopy(config)
    copied.seed = 7
    OmegaConf.set_readonly(copied.hydra.job, False)
    copied.device.faults.hang.append(3)
    copied.strategy.batch = 2
    OmegaConf.clear_cache(copied)
    assert parts(config) == before
