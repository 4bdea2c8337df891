"""`harness list`: every option that a run can name, described, and no internal group."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.commands.main import dispatch
from harness.config.compose import conf_dir
from harness.config.presets import GROUPS, kernels, presets
from harness.kernel import kernel_names

INTERNAL = {"hydra"}


def listed(capfd: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert dispatch(["list", *arguments]) == 0
    out, err = capfd.readouterr()
    assert err == ""
    return out


def test_every_group_of_the_configuration_is_listed_or_internal() -> None:
    folders = {path.name for path in conf_dir().iterdir() if path.is_dir()}
    assert folders == set(GROUPS) | {"kernel"} | INTERNAL


@pytest.mark.parametrize("group", GROUPS)
def test_every_preset_has_a_description_of_one_line(group: str) -> None:
    options = presets(group)
    assert [each.name for each in options] == sorted(
        path.stem for path in (conf_dir() / group).glob("*.yaml")
    )
    for option in options:
        assert 5 < len(option.description) <= 120, option
        assert "\n" not in option.description
        assert "python -m harness" not in option.description


def test_kernels_and_their_variants() -> None:
    described = {each.name: each.description for each in kernels()}
    assert set(described) == set(kernel_names())
    assert described["matmul_64"].startswith("Product of two square int8 matrices of 64x64")
    assert described["attention"].startswith("Single-head attention")


def test_all_groups_without_an_argument(capfd: pytest.CaptureFixture[str]) -> None:
    found = json.loads(listed(capfd, "--json"))
    assert list(found) == ["kernels", *GROUPS.values()]
    text = listed(capfd)
    assert all(name in text for name in ("matmul_64", "pipelined", "whisper_base", "guide_pooled"))
    assert "schema" not in text


@pytest.mark.parametrize(("group", "plural"), [*GROUPS.items(), ("kernel", "kernels")])
def test_a_group_by_its_singular_or_plural(
    group: str, plural: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert listed(capfd, group) == listed(capfd, plural) == listed(capfd, group, plural) != ""


def test_the_users_own_presets_are_marked(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "strategy").mkdir()
    (tmp_path / "strategy" / "mine.yaml").write_text("# Deep and wide. More.\ndepth: 8\n")
    (tmp_path / "strategy" / "pooled.yaml").write_text("# Never used by Hydra.\n")
    out = listed(capfd, "strategies", "--config-dir", str(tmp_path))
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert "* mine Deep and wide" in lines
    assert "pooled Serial, with bos that are allocated once" in lines
    assert f"* from {tmp_path}" in lines


def test_keys_of_a_group(capfd: pytest.CaptureFixture[str]) -> None:
    rows = json.loads(listed(capfd, "strategies", "--keys", "--json"))
    assert [row["key"] for row in rows][:2] == ["strategy.buffers", "strategy.depth"]
    assert rows[1]["allowed"].startswith("1 to ")
    devices = {row["key"]: row for row in json.loads(listed(capfd, "device", "--keys", "--json"))}
    assert devices["device.noise.enabled"]["device"] == "simulator"
    assert devices["device.index"]["device"] == "hardware"
    assert "device.kind" not in devices
    every = json.loads(listed(capfd, "--keys", "--json"))
    assert "keys of tracking" in every
    assert "keys of experiment" not in every
    assert "harness list strategy --keys lists the keys of strategy" in listed(capfd, "strategy")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["strateg"], "strateg: no such group; did you mean strategy? Allowed: device, "),
        (["experiment", "--keys"], "--keys experiment: has no keys; device, strategy, workload, "),
        (["--config-dir", "nowhere"], "--config-dir=nowhere: no such folder"),
    ],
)
def test_wrong_requests(
    arguments: list[str], message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert dispatch(["list", *arguments]) == 2
    out, err = capfd.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith(f"harness: {message}")
