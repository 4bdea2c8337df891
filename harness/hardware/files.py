"""The files of a compiled kernel: its xclbin, and the instructions that its runs begin with."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from harness.device import Hardware
from harness.errors import RequestError
from harness.kernel import Bytes, KernelSpec, load_kernel

WORD_BYTES = 4
XCLBIN, INSTRUCTIONS = ".xclbin", ".insts.bin"


def kernel_files(device: Hardware, spec: KernelSpec) -> tuple[str, Bytes]:
    """Path of the xclbin and the instructions (bytes,) uint8 of a kernel.

    `device.xclbin.<kernel>` and `device.insts.<kernel>` come before `device.kernels_dir`; instructions of an xclbin
    given by path are looked for beside it. RequestError where a file is missing or holds no instructions.
    """
    for key in ("xclbin", "insts"):
        for kernel in getattr(device, key):
            try:
                load_kernel(kernel)
            except RequestError as error:
                raise RequestError(f"device.{key}.{kernel}: {error}") from error
    usual = Path(device.kernels_dir) / f"{spec.name}{XCLBIN}"
    xclbin = Path(device.xclbin.get(spec.name, usual))
    instructions = Path(device.insts.get(spec.name, xclbin.with_name(f"{xclbin.stem}{INSTRUCTIONS}")))
    for key, path in (("xclbin", xclbin), ("insts", instructions)):
        given = getattr(device, key).get(spec.name)
        said = f"device.{key}.{spec.name}={given}" if given else f"device.kernels_dir={device.kernels_dir}"
        if not path.is_file():
            raise RequestError(
                f"{said}: there is no file {path}; build kernel {spec.name} with mlir-aie, or give the path of a "
                f"built one with device.{key}.{spec.name}=<path>"
            )
    return str(xclbin), read_instructions(instructions)


def read_instructions(path: Path) -> Bytes:
    """Instructions (bytes,) uint8, from 32-bit words as they are or as text, a hexadecimal word a line.

    RequestError if the file can't be read or is neither.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RequestError(f"{path}: cannot be read ({error.strerror}); give a file of instructions") from error
    words = content.split()
    if words and content.isascii() and b"".join(words).decode().isprintable():  # binary begins with a zero byte
        content = _parsed(words)
    if not content or len(content) % WORD_BYTES:
        raise RequestError(
            f"{path}: holds no instructions; give 32-bit words, binary or as text, a hexadecimal word a line"
        )
    return np.frombuffer(content, np.uint8)


def _parsed(words: list[bytes]) -> bytes:
    """Hexadecimal words as they lie in memory; nothing if one of them is none."""
    try:
        return np.array([int(word, 16) for word in words], np.uint32).tobytes()
    except (ValueError, OverflowError):
        return b""
