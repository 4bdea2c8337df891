"""The files of a compiled kernel: its xclbin, and the instructions that its runs begin with."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from harness.config.device import Hardware
from harness.errors import RequestError
from harness.kernel import Bytes, KernelSpec, load_kernel

WORD_BYTES = 4
XCLBIN, INSTRUCTIONS = ".xclbin", ".insts.bin"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def check_names(device: Hardware) -> None:
    """RequestError if `device.xclbin` or `device.insts` names a kernel that there is not."""
    for key in ("xclbin", "insts"):
        for kernel in getattr(device, key):
            try:
                load_kernel(kernel)
            except RequestError as error:
                raise RequestError(f"device.{key}.{kernel}: {error}") from error


def kernel_files(device: Hardware, spec: KernelSpec) -> tuple[str, Bytes]:
    """Path of the xclbin and the instructions (bytes,) uint8 of a kernel.

    `device.xclbin.<kernel>` and `device.insts.<kernel>` come before `device.kernels_dir`; instructions of an xclbin
    given by path are looked for beside it. RequestError where a file is missing or holds no instructions.
    """
    said = f"device.kernels_dir={device.kernels_dir}"
    xclbin = Path(device.kernels_dir) / f"{spec.name}{XCLBIN}"
    if spec.name in device.xclbin:
        xclbin, said = (
            Path(device.xclbin[spec.name]),
            f"device.xclbin.{spec.name}={device.xclbin[spec.name]}",
        )
    _check_file(xclbin, said, f"device.xclbin.{spec.name}", spec)
    instructions = xclbin.with_name(f"{xclbin.stem}{INSTRUCTIONS}")
    if spec.name in device.insts:
        instructions, said = (
            Path(device.insts[spec.name]),
            f"device.insts.{spec.name}={device.insts[spec.name]}",
        )
    _check_file(instructions, said, f"device.insts.{spec.name}", spec)
    return str(xclbin), read_instructions(instructions)


def _check_file(path: Path, said: str, key: str, spec: KernelSpec) -> None:
    if not path.is_file():
        what = "a folder, no file" if path.is_dir() else "no such file"
        raise RequestError(
            f"{said}: {path}: {what}; build kernel {spec.name} with mlir-aie, or give the path of a built one with "
            f"{key}=<path>"
        )


def columns_of(path: str) -> int:
    """Columns of the array that an xclbin takes; 1 where it does not tell."""
    from harness import xclbin as axlf

    try:
        container = axlf.read(Path(path))
    except ValueError:
        return 1
    return container.columns or 1 if container else 1


def read_instructions(path: Path) -> Bytes:
    """Instructions (bytes,) uint8, from 32-bit words as they are or as text, a hexadecimal word a line.

    RequestError if the file can't be read or is neither.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RequestError(
            f"{path}: cannot be read ({error.strerror}); give a file of instructions"
        ) from error
    words = content.removeprefix(BYTE_ORDER_MARK).split()
    # A binary stream begins with its version, 0.1, which no text does (mlir-aie, AIETargetNPU.cpp).
    if words and b"".join(words).isascii() and b"".join(words).decode().isprintable():
        content = _parsed(words)
    if not content or len(content) % WORD_BYTES:
        raise RequestError(
            f"{path}: holds no instructions; give 32-bit words, binary or as text, a hexadecimal word a line"
        )
    return np.frombuffer(content, np.uint8)


def _parsed(words: list[bytes]) -> bytes:
    """Hexadecimal words as they lie in memory; nothing if one of them is none."""
    if not all(re.fullmatch(rb"(0[xX])?[0-9a-fA-F]{1,8}", word) for word in words):
        return b""
    return np.array([int(word, 16) for word in words], np.uint32).tobytes()
