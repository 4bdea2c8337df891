"""The loader that composes once gives what Hydra's own loader composes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from harness.config.compose import conf_dir, load, register
from harness.config.loader import CachingLoader, Compositions, caching_loader
from harness.errors import RequestError

REQUESTS = [
    [],
    ["depth=3", "workload.tiles=20"],
    ["strategy=stacked", "depth=3", "device.faults.hang=[1,2]", "+device.xclbin.attention=a"],
    ["experiment=guide_pooled", "seed=1"],
    ["strategy={batch: 4}", "strategy.depth=2"],
    ["~measure.repeats"],
    ["tracking=off", "hydra.run.dir=here", "hydra.job.config.override_dirname.exclude_keys=[seed]"],
    ["strategy=nope"],
    ["strategy.nope=1"],
    ["depth=many"],
    ["depth=1,2"],
]


@pytest.fixture(scope="module", autouse=True)
def registered() -> None:
    register()


def composed(overrides: Sequence[str], mode: RunMode, cached: Compositions | None) -> str:
    """The composed configuration as YAML, or the messages of an error and of its causes."""
    with (
        nullcontext() if cached is None else caching_loader(cached),
        initialize_config_dir(str(conf_dir()), version_base="1.3"),
    ):
        loader = GlobalHydra.instance().hydra.config_loader
        assert isinstance(loader, CachingLoader) is (cached is not None)
        try:
            config = loader.load_configuration("config", list(overrides), mode)
        except HydraException as error:
            return "\n".join(map(str, (error, error.__cause__)))
        return OmegaConf.to_yaml(config)


@pytest.mark.slow
def test_equal_to_hydras_own() -> None:
    cached: Compositions = {}
    for overrides in REQUESTS:
        # Hydra composes for a sweep first, whatever is asked for.
        for mode in (RunMode.MULTIRUN, RunMode.RUN):
            expected = composed(overrides, mode, None)
            assert composed(overrides, mode, cached) == expected, overrides
    assert 1 < len(cached) < len(REQUESTS)


@pytest.mark.parametrize(
    "overrides",
    [["depth=3"], ["depth=1,2"], ["seed=1", "hydra.mode=MULTIRUN"], ["hydra.mode=RUN"], ["seed=x"]],
)
def test_the_mode_is_that_of_hydras_own(overrides: list[str]) -> None:
    """As Hydra's `get_mode` reads it, which takes an error for no mode."""
    cached: Compositions = {}
    composed([], RunMode.RUN, cached)
    (base,) = cached.values()
    before = OmegaConf.to_yaml(base)
    modes = []
    for context in (nullcontext(), caching_loader(cached)):
        with context, initialize_config_dir(str(conf_dir()), version_base="1.3"):
            modes.append(GlobalHydra.instance().hydra.get_mode("config", list(overrides)))
    assert modes[0] == modes[1]
    assert OmegaConf.to_yaml(base) == before


def test_the_mode_is_read_without_a_copy() -> None:
    cached: Compositions = {}
    with caching_loader(cached), initialize_config_dir(str(conf_dir()), version_base="1.3"):
        loader = GlobalHydra.instance().hydra.config_loader
        config = loader.load_configuration(
            "config", ["depth=3"], RunMode.MULTIRUN, validate_sweep_overrides=False
        )
    (base,) = cached.values()
    assert config is base


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[Sequence[str]]:
    """The overrides of each composition by Hydra's own loader."""
    calls: list[Sequence[str]] = []
    original = ConfigLoaderImpl.load_configuration

    def count(
        self: ConfigLoaderImpl, name: str, overrides: list[str], *rest: object, **more: object
    ) -> DictConfig:
        calls.append(overrides)
        return original(self, name, overrides, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(ConfigLoaderImpl, "load_configuration", count)
    return calls


def test_presets_are_composed_once_and_again_after_a_change(
    counted: list[Sequence[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "conf"
    for path in conf_dir().rglob("*.yaml"):
        copy = folder / path.relative_to(conf_dir())
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(path.read_text())
    monkeypatch.setattr("harness.config.compose.conf_dir", lambda: folder)
    assert load("depth=3").strategy.depth == 3
    assert load("depth=4", "seed=1").strategy.depth == 4
    assert counted == [[]]
    preset = folder / "strategy" / "pipelined.yaml"
    preset.write_text(preset.read_text().replace("depth: ${depth}", "depth: 7"))
    assert load("depth=3").strategy.depth == 7
    assert counted == [[], []]


def test_a_group_of_a_search_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "one.yaml").write_text("# @package _global_\nseed: 5\n")
    monkeypatch.chdir(tmp_path)
    with caching_loader(), initialize_config_dir(str(conf_dir()), version_base="1.3"):
        path = f"hydra.searchpath=[{os.fspath(tmp_path)}]"
        assert compose("config", [path, "+mine=one"]).seed == 5


def test_an_error_is_not_stored() -> None:
    for _ in range(2):
        with pytest.raises(RequestError, match="strategy=nope: no such option"):
            load("strategy=nope")
