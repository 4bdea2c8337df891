"""Finds and reads the files of a compiled kernel: its xclbin and its instruction stream."""

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
    """RequestError if `device.xclbin` or `device.insts` names a kernel that does not exist."""
    for key in ("xclbin", "insts"):
        for kernel in getattr(device, key):
            try:
                load_kernel(kernel)
            except RequestError as error:
                raise RequestError(f"device.{key}.{kernel}: {error}") from error


def kernel_files(device: Hardware, spec: KernelSpec) -> tuple[str, Bytes]:
    """Path of the xclbin and the instructions (bytes,) uint8 of a kernel.

    `device.xclbin.<kernel>` and `device.insts.<kernel>` override the files that the kernel
    declares, which override `device.kernels_dir`. The instructions are by default in the folder of
    the xclbin; those of a declaration belong to its xclbin. RequestError if a file is missing or
    contains no instructions.
    """
    name, declared = spec.name, spec.files
    setting = f"device.kernels_dir={device.kernels_dir}"
    xclbin = Path(device.kernels_dir) / f"{name}{XCLBIN}"
    if declared.xclbin:
        xclbin = declared.xclbin
        setting = f"xclbin of kernel {name}"
    if name in device.xclbin:
        xclbin = Path(device.xclbin[name])
        setting = f"device.xclbin.{name}={device.xclbin[name]}"
    _check_file(xclbin, setting, f"device.xclbin.{name}", spec)
    instructions = xclbin.with_name(f"{xclbin.stem}{INSTRUCTIONS}")
    if declared.insts and name not in device.xclbin:
        instructions = declared.insts
        setting = f"insts of kernel {name}"
    if name in device.insts:
        instructions = Path(device.insts[name])
        setting = f"device.insts.{name}={device.insts[name]}"
    _check_file(instructions, setting, f"device.insts.{name}", spec)
    return str(xclbin), read_instructions(instructions)


def _check_file(path: Path, setting: str, key: str, spec: KernelSpec) -> None:
    """RequestError if `path` is not a file.

    setting: the override that led to the path; key: the one that can replace it.
    """
    if not path.is_file():
        problem = "is a folder, not a file" if path.is_dir() else "no such file"
        raise RequestError(
            f"{setting}: {path}: {problem}; build kernel {spec.name} with mlir-aie, "
            f"or give the path of a built one with {key}=<path>"
        )


def columns_of(path: str) -> int:
    """Columns of the array that an xclbin occupies; 1 if the file does not say."""
    from harness import xclbin as axlf

    try:
        container = axlf.read(Path(path))
    # XRT reports what is wrong with the file.
    except (OSError, ValueError):
        return 1
    return container.columns or 1 if container else 1


def read_instructions(path: Path) -> Bytes:
    """The instructions in a file, (bytes,) uint8.

    The file is binary, or text with one hexadecimal 32-bit word a line. RequestError if it cannot
    be read or has neither format.
    """
    try:
        # mlir-aie writes binary files; older versions wrote hexadecimal text (insts.txt).
        content = path.read_bytes()
    except OSError as error:
        raise RequestError(
            f"{path}: cannot be read ({error.strerror}); give a file with instructions"
        ) from error
    words = content.removeprefix(BYTE_ORDER_MARK).split()
    # A binary stream begins with its version, 0.1: two control characters, which no text has
    # (mlir-aie, AIETargetNPU.cpp).
    if words and b"".join(words).isascii() and b"".join(words).decode().isprintable():
        content = _parse_words(words)
    if not content or len(content) % WORD_BYTES:
        raise RequestError(
            f"{path}: contains no instructions; "
            "give 32-bit words, binary or as text with one hexadecimal word a line"
        )
    return np.frombuffer(content, np.uint8)


def _parse_words(words: list[bytes]) -> bytes:
    """Hexadecimal words as the bytes of 32-bit integers; empty if a word is not hexadecimal."""
    if not all(re.fullmatch(rb"(0[xX])?[0-9a-fA-F]{1,8}", word) for word in words):
        return b""
    return np.array([int(word, 16) for word in words], np.uint32).tobytes()
