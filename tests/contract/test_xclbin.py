"""xclbin files as pyxrt reads them, and as harness.xclbin does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from support.xclbinutil import COMMITTED, made

from harness import xclbin as axlf

HEADER_BYTES, LENGTH = 496, slice(304, 312)
"""sizeof(struct axlf) and the place of its m_header.m_length (XRT, xclbin.h)."""
Write = Callable[[bytes], str]


@pytest.fixture
def written(tmp_path: Path) -> Write:
    """Keeps bytes as a file; returns its path."""

    def write(content: bytes) -> str:
        path = tmp_path / "some.xclbin"
        path.write_bytes(content)
        return str(path)

    return write


def read(path: str) -> axlf.Container:
    container = axlf.read(Path(path))
    assert container
    return container


def agree(pyxrt: ModuleType, path: str) -> None:
    """What pyxrt tells of a file is what our reader does."""
    theirs, ours = pyxrt.xclbin(path), read(path)
    assert [(each.get_name(), each.get_num_args()) for each in theirs.get_kernels()] == [
        (kernel.name, len(kernel.arguments)) for kernel in ours.kernels
    ]
    assert theirs.get_uuid().to_string() == ours.uuid
    assert theirs.get_xsa_name() == ours.xsa_name
    assert [
        (
            each.get_tag(),
            each.get_base_address(),
            each.get_size_kb(),
            each.get_used(),
            each.get_index(),
        )
        for each in theirs.get_mems()
    ] == [
        (bank.tag, bank.base_address, bank.size_kb, bank.used, index)
        for index, bank in enumerate(ours.banks)
    ]


def test_as_mlir_aie_makes_them(pyxrt: ModuleType, written: Write) -> None:
    path = written(COMMITTED)
    agree(pyxrt, path)
    assert [
        (each.get_name(), each.get_num_args()) for each in pyxrt.xclbin(path).get_kernels()
    ] == [("MLIR_AIE", 8)]
    assert pyxrt.xclbin(path).get_uuid().to_string() == "651c6d14-b727-15f3-c477-4f4af97bd475"


@pytest.mark.parametrize("name", ["SOMEBODY", "MLIR_AI2", "ätten"])
def test_other_names(pyxrt: ModuleType, written: Write, name: str) -> None:
    """Metadata and layout hold another name of as many bytes; nothing else depends on the name."""
    path = written(COMMITTED.replace(b"MLIR_AIE", name.encode().ljust(8, b"_")))
    agree(pyxrt, path)
    assert pyxrt.xclbin(path).get_kernels()[0].get_name().startswith(name)


@pytest.mark.parametrize(
    "kernels",
    [
        (("MLIR_AIE", 5),),
        (("attention", 2), ("softmax", 3)),
        (("none", 0),),
        tuple((f"k{i}", i) for i in range(12)),
    ],
    ids=lambda kernels: f"{len(kernels)}-{kernels[0][0]}",
)
def test_as_xclbinutil_makes_them(
    pyxrt: ModuleType, tmp_path: Path, kernels: tuple[tuple[str, int], ...]
) -> None:
    made(tmp_path, *kernels)
    path = str(tmp_path / "made.xclbin")
    agree(pyxrt, path)
    found = pyxrt.xclbin(path).get_kernels()
    assert [(each.get_name(), each.get_num_args()) for each in found] == [
        (name, 3 + bos) for name, bos in kernels
    ]
    assert {
        bank for kernel in read(path).kernels for bank in (arg.bank for arg in kernel.arguments[3:])
    } <= {0}
    assert {kernel.arguments[1].bank for kernel in read(path).kernels} == {1}


def test_one_without_a_kernel(pyxrt: ModuleType, tmp_path: Path) -> None:
    made(tmp_path)
    agree(pyxrt, str(tmp_path / "made.xclbin"))
    assert pyxrt.xclbin(str(tmp_path / "made.xclbin")).get_kernels() == []


def test_an_empty_one(pyxrt: ModuleType) -> None:
    assert pyxrt.xclbin().get_kernels() == []
    assert pyxrt.xclbin().get_mems() == []


def cut(size: int) -> bytes:
    """The beginning of the file, its length told as that."""
    return COMMITTED[: LENGTH.start] + size.to_bytes(8, "little") + COMMITTED[LENGTH.stop : size]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "xclbin: buffer too small to contain header"),
        (b"xclbin2\0", "xclbin: buffer too small to contain header"),
        (COMMITTED[: HEADER_BYTES - 1], "xclbin: buffer too small to contain header"),
        (COMMITTED[:HEADER_BYTES], "xclbin: m_length does not match buffer size"),
        (COMMITTED[:-1], "xclbin: m_length does not match buffer size"),
        (COMMITTED + b"\0", "xclbin: m_length does not match buffer size"),
        (b"xclbin3" + COMMITTED[7:], "Invalid xclbin"),
        (b"\x7fELF" + bytes(HEADER_BYTES), "Invalid xclbin"),
        (cut(HEADER_BYTES), "xclbin: section header array exceeds buffer"),
        (cut(775), "xclbin: section header array exceeds buffer"),
        (cut(776), "xclbin: section header out of range"),
        (cut(2000), "xclbin: section header out of range"),
        (cut(4031), "xclbin: section header out of range"),
    ],
    ids=range(13),
)
def test_broken_ones(pyxrt: ModuleType, written: Write, content: bytes, text: str) -> None:
    with pytest.raises(RuntimeError) as raised:
        pyxrt.xclbin(written(content))
    assert str(raised.value) == text


def test_what_follows_the_last_section_does_not_matter(pyxrt: ModuleType, written: Write) -> None:
    agree(pyxrt, written(cut(4032)))


@pytest.mark.parametrize(
    ("path", "error", "text"),
    [
        ("none.xclbin", RuntimeError, "No such file or directory 'none.xclbin'"),
        (b"none.xclbin", RuntimeError, "No such file or directory 'none.xclbin'"),
        ("", RuntimeError, "No xclbin specified"),
        ("/", MemoryError, "std::bad_alloc"),
    ],
)
def test_missing_ones(deviceless: ModuleType, path: str, error: type[Exception], text: str) -> None:
    with pytest.raises(error) as raised:
        deviceless.xclbin(path)
    assert str(raised.value) == text
