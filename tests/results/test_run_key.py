"""The key by which a sweep recognises a run: configuration, code and device."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.record_samples import CONFIG

from harness.results import run_key as module
from harness.results.run_key import code_hash, device_fingerprint, run_key

HARDWARE: dict[str, Any] = {"kind": "hardware", "index": 0, "xclbin": {}, "insts": {}}


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A harness of one file, with no kernels."""
    monkeypatch.setattr(module, "PACKAGE", tmp_path / "harness")
    monkeypatch.setattr(module, "kernels_root", lambda: tmp_path / "kernels")
    (tmp_path / "harness").mkdir()
    (tmp_path / "harness" / "one.py").write_text("x = 1\n")
    code_hash.cache_clear()
    yield tmp_path / "harness"
    code_hash.cache_clear()


def test_the_key_changes_with_the_configuration_only_where_results_do() -> None:
    changed = copy.deepcopy(CONFIG)
    changed["tracking"]["kind"] = "local"
    changed["resume"] = "off"
    assert run_key(changed) == run_key(CONFIG)
    changed["seed"] = 1
    assert run_key(changed) != run_key(CONFIG)


def test_the_key_changes_with_uncommitted_code(tree: Path) -> None:
    before = run_key(CONFIG)
    assert run_key(CONFIG) == before
    (tree / "__pycache__").mkdir()
    (tree / "__pycache__" / "one.pyc").write_text("compiled")
    code_hash.cache_clear()
    assert run_key(CONFIG) == before
    (tree / "one.py").write_text("x = 2\n")
    code_hash.cache_clear()
    assert run_key(CONFIG) != before


def test_virtual_time_is_the_same_on_all_machines() -> None:
    assert set(device_fingerprint({"clock": "virtual"})) == {"python", "numpy"}
    assert "machine" in device_fingerprint({"clock": "wall"})


def test_an_npu_is_known_by_its_xclbins(tmp_path: Path) -> None:
    device = {**HARDWARE, "kernels_dir": str(tmp_path)}
    without = device_fingerprint(device)
    (tmp_path / "attention.xclbin").write_text("one")
    one = device_fingerprint(device)
    (tmp_path / "attention.xclbin").write_text("two")
    two = device_fingerprint(device)
    assert len({each["kernels"] for each in (without, one, two)}) == 3
    own = tmp_path / "own"
    own.mkdir()
    (own / "mine.xclbin").write_text("mine")
    named = {**device, "xclbin": {"attention": str(own / "mine.xclbin")}}
    assert device_fingerprint(named)["kernels"] not in {two["kernels"], one["kernels"]}
