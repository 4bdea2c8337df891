"""Read the files of a compiled kernel, each checked before it is read whole."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness import aie_partition, xclbin
from harness.device.xrt.files import WORD_BYTES, read_instructions
from harness.device.xrt.instruction_stream import Stream, read_stream
from harness.errors import RequestError
from harness.units import BYTES_PER_MIB

LFS_POINTER = b"version https://git-lfs"
MAX_INSTRUCTIONS_BYTES = 64 * BYTES_PER_MIB
"""Larger than the heap of a device, from which XRT allocates the instructions."""


@dataclass(frozen=True)
class XclbinFile:
    """An xclbin; partition: None if it has none."""

    path: Path
    container: xclbin.Container
    partition: aie_partition.Partition | None

    def image_of(self, kernel: xclbin.XclbinKernel) -> aie_partition.Image | None:
        """The device image that a kernel needs; None if the file does not say."""
        images = self.partition.images if self.partition else ()
        return next((each for each in images if kernel.dpu_id in each.dpu_ids), None)


@dataclass(frozen=True)
class InstructionFile:
    """A file of instructions. is_text: hexadecimal words. stream: None for an unknown format."""

    path: Path
    size_bytes: int
    is_text: bool
    stream: Stream | None


def read_xclbin(path: Path) -> XclbinFile:
    """Read an xclbin; RequestError in one line if it is none, truncated or malformed."""
    head = _head(path, "xclbin")
    if not head.startswith(xclbin.MAGIC):
        raise RequestError(f"{path}: {_kind(head)}, not an xclbin; give a file that mlir-aie built")
    try:
        container = xclbin.read(path)
        partition = aie_partition.read_partition(path)
    except (ValueError, OSError) as error:
        raise RequestError(f"{path}: {error}; build it again") from error
    if container is None:
        raise RequestError(f"{path}: not an xclbin; give a file that mlir-aie built")
    return XclbinFile(path, container, partition)


def read_insts(path: Path) -> InstructionFile:
    """Read a file of instructions; RequestError in one line if it is none."""
    head = _head(path, "instruction file")
    if head.startswith((LFS_POINTER, xclbin.MAGIC, b"\x7fELF")):
        raise RequestError(f"{path}: {_kind(head)}; give a file with instructions")
    if (size := path.stat().st_size) > MAX_INSTRUCTIONS_BYTES:
        raise RequestError(
            f"{path}: {size} bytes; instructions have at most {MAX_INSTRUCTIONS_BYTES}; "
            "give a file with instructions"
        )
    content = read_instructions(path)
    is_text = not head.startswith(content[:WORD_BYTES].tobytes())
    return InstructionFile(path, content.nbytes, is_text, read_stream(content))


def _head(path: Path, what: str) -> bytes:
    """The first bytes of a regular file; RequestError if there is none that can be read."""
    if not path.exists():
        raise RequestError(f"{path}: no such file; give the path of an {what}")
    if not path.is_file():
        raise RequestError(f"{path}: not a file; give the path of an {what}")
    try:
        with path.open("rb") as file:
            return file.read(len(LFS_POINTER))
    except OSError as error:
        raise RequestError(
            f"{path}: cannot be read ({error.strerror}); give the path of an {what}"
        ) from error


def _kind(head: bytes) -> str:
    """What a file is by its first bytes, for a message."""
    if head.startswith(LFS_POINTER):
        return "a pointer of Git LFS, which `git lfs pull` replaces by the file"
    if head.startswith(b"\x7fELF"):
        return "an ELF file"
    if head.startswith(xclbin.MAGIC):
        return "an xclbin"
    return "empty" if not head else "a file of another format"
