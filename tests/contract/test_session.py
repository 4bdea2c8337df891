"""The harness's own code over pyxrt, as far as it goes without a device."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from support.small_device import ADD
from support.xclbinutil import COMMITTED, made

from harness.config.device import Hardware
from harness.device.open import open_backend
from harness.device.xrt.files import kernel_files
from harness.device.xrt.open_kernel import kernel_of
from harness.errors import RequestError
from harness.kernel import KernelSpec


def takes(bos: int, name: str = "add") -> KernelSpec:
    """A kernel of so many bos, its output included."""
    return replace(ADD, name=name, arguments=ADD.inputs * (bos - 1) + ADD.outputs)


@pytest.fixture
def installed(pyxrt: ModuleType, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """What `import pyxrt` finds."""
    monkeypatch.setitem(sys.modules, "pyxrt", pyxrt)
    return pyxrt


@pytest.mark.parametrize("index", [0, 3])
def test_no_device(installed: ModuleType, index: int) -> None:
    if installed.enumerate_devices() > index:
        pytest.skip(f"there is a device {index} here")
    for _ in range(2):
        with pytest.raises(RequestError) as raised:
            open_backend(Hardware(index=index), ADD)
        assert f"device.index={index}" in str(raised.value)
        assert f"No such device with index '{index}'" in str(raised.value)


def chosen(pyxrt: ModuleType, content: bytes, spec: KernelSpec, folder: Path) -> str:
    """The kernel that the session takes, found as it finds it: through the files of a folder."""
    (folder / f"{spec.name}.xclbin").write_bytes(content)
    np.arange(4, dtype=np.uint32).tofile(folder / f"{spec.name}.insts.bin")
    path, instructions = kernel_files(Hardware(kernels_dir=str(folder)), spec)
    assert instructions.tobytes() == np.arange(4, dtype=np.uint32).tobytes()
    return kernel_of(pyxrt.xclbin(path), path, spec)


@pytest.mark.parametrize("bos", [2, 5])
def test_the_usual_name(pyxrt: ModuleType, tmp_path: Path, bos: int) -> None:
    assert chosen(pyxrt, COMMITTED, takes(bos), tmp_path) == "MLIR_AIE"


def test_the_kernels_own_name(pyxrt: ModuleType, tmp_path: Path) -> None:
    assert (
        chosen(pyxrt, COMMITTED.replace(b"MLIR_AIE", b"SOMEBODY"), takes(5, "SOMEBODY"), tmp_path)
        == "SOMEBODY"
    )


def test_a_name_that_begins_as_usual(pyxrt: ModuleType, tmp_path: Path) -> None:
    content = made(tmp_path, ("MLIR_AIE_sequence", 3))
    assert chosen(pyxrt, content, takes(3), tmp_path) == "MLIR_AIE_sequence"


def test_one_of_several(pyxrt: ModuleType, tmp_path: Path) -> None:
    content = made(tmp_path, ("MLIR_AIE", 5), ("add", 2))
    assert chosen(pyxrt, content, takes(2), tmp_path) == "add"


def test_a_stranger(pyxrt: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"add\.xclbin: .*SOMEBODY"):
        chosen(pyxrt, COMMITTED.replace(b"MLIR_AIE", b"SOMEBODY"), ADD, tmp_path)


def test_several_strangers(pyxrt: ModuleType, tmp_path: Path) -> None:
    content = made(tmp_path, ("first", 2), ("second", 2))
    with pytest.raises(RequestError, match="first, second"):
        chosen(pyxrt, content, ADD, tmp_path)


def test_none(pyxrt: ModuleType, tmp_path: Path) -> None:
    content = made(tmp_path)
    with pytest.raises(RequestError, match="no kernel"):
        chosen(pyxrt, content, ADD, tmp_path)


def test_too_few_arguments(pyxrt: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"declares 8 arguments; add takes 9"):
        chosen(pyxrt, COMMITTED, takes(6), tmp_path)


def test_missing_files(pyxrt: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"add\.xclbin"):
        kernel_files(Hardware(kernels_dir=str(tmp_path)), ADD)
