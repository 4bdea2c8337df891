"""Every YAML option composes, runs, and says where its numbers come from."""

from __future__ import annotations

import re
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml
from support import native
from support.window import SMALL

from harness.config import compose as configuration
from harness.config.compose import conf_dir, load
from harness.config.device import Simulator
from harness.config.strategy import Buffers, Strategy
from harness.execution.experiment import Experiment
from harness.execution.outcome import Verdict
from harness.models.whisper import ENCODERS

pytestmark = pytest.mark.slow

GROUPS = ("device", "strategy", "workload", "phase", "measure", "tracking", "experiment")
OPTIONS = sorted(
    (path.parent.name, path.stem)
    for group in GROUPS
    for path in (conf_dir() / group).glob("*.yaml")
)
EXPERIMENTS = sorted((conf_dir() / "experiment").glob("*.yaml"))


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_every_option_composes_and_runs(
    group: str, option: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Encoders are a small one here; test_encoder_passes.py runs each in its own size."""
    for name in ENCODERS:
        monkeypatch.setitem(ENCODERS, name, replace(SMALL, name=name))
    config = load(f"{group}={option}", "workload.tiles=5")
    if config.device.kind == "simulator":
        outcome = Experiment(config).run()
        assert (outcome.verdict, outcome.reason) == (Verdict.OK, "")


@pytest.mark.parametrize(
    ("preset", "knobs"),
    [
        ("baseline", Strategy(Buffers.per_tile, depth=1, batch=1, prefetch=0, columns=1)),
        ("pooled", Strategy(Buffers.pooled, depth=1, batch=1, prefetch=0, columns=1)),
        ("pipelined", Strategy(Buffers.pooled, depth=3, batch=1, prefetch=0, columns=1)),
        ("batch", Strategy(Buffers.pooled, depth=1, batch=4, prefetch=0, columns=1)),
        ("stacked", Strategy(Buffers.pooled, depth=3, batch=4, prefetch=0, columns=1)),
    ],
)
def test_presets_are_points_in_one_space(preset: str, knobs: Strategy) -> None:
    assert load(f"strategy={preset}", "depth=3").strategy == knobs
    assert knobs.is_baseline == (preset == "baseline")


def test_any_knob_can_be_overridden() -> None:
    strategy = load(
        "strategy=batch", "strategy.columns=4", "strategy.depth=2", "strategy.prefetch=1"
    ).strategy
    assert strategy.label == "pooled d2 b4 c4 p1"


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_experiments_carry_their_command(path: Path) -> None:
    head = path.read_text().splitlines()
    assert head[:2] == ["# @package _global_", f"# python -m harness experiment={path.stem}"]


GROUPS = {"clock_mhz", "core_macs", "gemm_int8", "gemm_bfloat16", "memory", "noise"}
"""Keys of a profile that have keys of their own, and one source."""


def figures_of(raw: dict[str, Any]) -> set[str]:
    figures = {key for key, value in raw.items() if isinstance(value, int)}
    figures |= {f"exec_ns.{kernel}" for kernel in raw.get("exec_ns", {})}
    return figures | GROUPS & set(raw)


@pytest.mark.parametrize("profile", ["simulator", "phoenix_2026", "strix"])
def test_every_figure_of_a_device_has_a_source(profile: str) -> None:
    """A profile that is based on device=simulator has its sources too, for what it leaves as is."""
    raw = yaml.safe_load((conf_dir() / "device" / f"{profile}.yaml").read_text())
    figures, sources = figures_of(raw), raw["sources"]
    assert not figures - set(sources)
    device = load(f"device={profile}").device
    assert isinstance(device, Simulator)
    assert set(device.sources) == figures_of(vars(device)) - {"timeout_ms"}
    assert all(
        re.match(r"report|reported|fitted|assumed|mlir-aie|xdna-driver|XRT|published", text)
        for text in sources.values()
    )


def test_the_guides_machine_has_two_names() -> None:
    assert load("device=phoenix_guide").device == load("device=simulator").device


@pytest.mark.parametrize(("mode", "factor"), [("balanced", 1.80 / 1.028), ("powersaver", 2.25)])
def test_executions_scale_with_the_h_clock(mode: str, factor: float) -> None:
    """Read back on a busy Phoenix (ignite-xdna): 1.80, 1.028 and 0.80 GHz."""
    full, slow = load().device, load(f"device.power_mode={mode}").device
    assert isinstance(full, Simulator)
    assert isinstance(slow, Simulator)
    assert slow.exec_of("attention") == round(full.exec_of("attention") * factor)


def test_calibration_is_what_it_says() -> None:
    device = load().device
    assert isinstance(device, Simulator)
    assert device.sync_ns(device.write_fixed_ns, 12_288) == 22_000
    assert device.sync_ns(device.read_fixed_ns, 4_096) == 8_000
    assert device.sync_ns(0, 1 << 20) == 11_700


def test_a_preset_with_a_misspelt_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / "strategy").mkdir()
    (tmp_path / "strategy" / "mine.yaml").write_text("depht: 3\n")
    with pytest.raises(Exception, match="depht") as raised:
        load("strategy=mine", f"hydra.searchpath=[file://{tmp_path}]")
    assert configuration.explain(raised.value) == (
        "strategy.depht: unknown key; did you mean strategy.depth? "
        "Allowed: batch, buffers, columns, depth, prefetch, resident"
    )


@pytest.mark.parametrize("kernel", native.NAMES)
def test_what_is_built_stands_for_itself(kernel: str) -> None:
    device = load().device
    assert isinstance(device, Simulator)
    path = f"{device.kernels_dir}/{kernel}.xclbin"
    assert (
        next(stands for pattern, stands in device.xclbins.items() if fnmatch(path, pattern))
        == kernel
    )
