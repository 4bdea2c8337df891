"""Tests write YAML as OmegaConf does."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hydra import compose, initialize_config_dir
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf
from omegaconf._utils import get_omega_conf_dumper
from support import yaml_cache

from harness.config.compose import conf_dir, register

VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text("a1 .:#-'\"\n\té${}[,")
FORMAT = {"default_flow_style": False, "allow_unicode": True, "sort_keys": False}


def test_a_configuration_is_written_as_by_omegaconf(monkeypatch: pytest.MonkeyPatch) -> None:
    register()
    overrides = ["device.faults.hang=[1,2]", "workload.source='a: b'"]
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        config = compose("config", overrides, return_hydra_config=True)
    in_c = OmegaConf.to_yaml(config)
    monkeypatch.setattr("omegaconf.omegaconf.get_omega_conf_dumper", get_omega_conf_dumper)
    assert in_c == OmegaConf.to_yaml(config)


@given(
    data=st.dictionaries(
        st.text("ab", min_size=1), VALUES | st.lists(VALUES, max_size=3), max_size=3
    )
)
def test_any_data_are_written_as_by_omegaconf(data: Any) -> None:
    """With lines that are not folded."""
    texts = [
        yaml.dump(data, width=10_000, Dumper=dumper, **FORMAT)
        for dumper in (yaml_cache.CDumper, get_omega_conf_dumper())
    ]
    assert texts[0] == texts[1]
