"""Reads an xclbin file: the container that XRT calls axlf, and in it what pyxrt tells of a file before any device.

Layout: XRT, src/runtime_src/core/include/xclbin.h (struct axlf and those of its sections; little-endian, natural
alignment). What is made of it: XRT, src/runtime_src/core/common/xclbin_parser.cpp (kernels, arguments),
core/common/api/xrt_xclbin.cpp (instances, memories) and core/common/api/xrt_kernel.cpp (`group_id`). A group section
stands for its plain one where there is one, XRT's default; the first section of a kind is the one that counts.
"""

from __future__ import annotations

import re
import uuid
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path
from struct import Struct
from typing import Any, BinaryIO

NO_BANK = 65535
"""Bank of an argument connected to no memory: -1 in the 16 bits that XRT's `group_id` has for a bank."""

MAGIC = b"xclbin2\0"
# struct axlf up to m_sections: m_length, VBNV, uuid, m_numSections
HEADER = Struct("<304x Q 40x 64s 16s 16x I 4x")
SECTION = Struct("<I 16x 4x Q Q")  # struct axlf_section_header: kind, offset, size
MEMORY = Struct("<B B 6x Q Q 16s")  # struct mem_data: type, used, size, base address, tag
# struct connection: argument, index in IP_LAYOUT, index in MEM_TOPOLOGY
CONNECTION = Struct("<i i i")
INSTANCE = Struct("<16x 64s")  # struct ip_data: name
PARTITION = Struct("<32x H 150x")  # struct aie_partition: info.column_width

METADATA, TOPOLOGY, CONNECTIVITY, IP_LAYOUT, GROUP_TOPOLOGY, GROUP_CONNECTIVITY = 2, 6, 7, 8, 26, 27
AIE_PARTITION = 32  # as those above, of enum axlf_section_kind
STREAMS = (3, 9)  # enum MEM_TYPE: MEM_STREAMING, MEM_STREAMING_CONNECTION
# kernel_argument::argtype; global and constant take a bo
SCALAR, GLOBAL, CONSTANT, LOCAL, STREAM = range(5)
NUMBER = re.compile(r"0[xX][0-9a-fA-F]{1,16}|0+|[1-9][0-9]{0,19}")

MAX_SECTIONS = 0x10000  # XCLBIN_MAX_NUM_SECTION
MAX_READ = {  # bytes of each section that is read; of a partition not its device images
    **dict.fromkeys(
        (METADATA, TOPOLOGY, CONNECTIVITY, IP_LAYOUT, GROUP_TOPOLOGY, GROUP_CONNECTIVITY), 4 << 20
    ),
    AIE_PARTITION: PARTITION.size,
}


@dataclass(frozen=True)
class Argument:
    """One argument of a kernel; `bank` is what `group_id(index)` gives: the last memory it is connected to."""

    index: int
    name: str
    type: str
    is_bo: bool
    bank: int


@dataclass(frozen=True)
class XclbinKernel:
    """One kernel, with the arguments that `get_num_args` counts: those with an id, each id once."""

    name: str
    arguments: tuple[Argument, ...]


@dataclass(frozen=True)
class Bank:
    """One memory, as stored; its place in `Container.banks` is the index that arguments name."""

    tag: str
    base_address: int
    size_kb: int
    used: bool
    type: int


@dataclass(frozen=True)
class Container:
    """What an xclbin says of itself; `columns` is the width of its AIE partition, None if it has none."""

    uuid: str
    kernels: tuple[XclbinKernel, ...]
    banks: tuple[Bank, ...]
    columns: int | None
    xsa_name: str


class SectionOutOfRangeError(ValueError):
    """A section that ends after the file."""


def read(path: Path) -> Container | None:
    """The xclbin at `path`; None if the file is none; ValueError, of one line, if it is truncated or malformed."""
    if path.exists() and not path.is_file():
        return None
    with path.open("rb") as file:
        head = file.read(HEADER.size)
        if not head.startswith(MAGIC):
            return None
        size = path.stat().st_size
        length, vbnv, identity, count = HEADER.unpack(head.ljust(HEADER.size, b"\0"))
        if size < max(length, HEADER.size):
            raise ValueError(f"truncated xclbin: {size} bytes of {max(length, HEADER.size)}")
        sections = _sections(file, count, size)
    partition = sections.get(AIE_PARTITION)
    if partition is not None and len(partition) < PARTITION.size:
        raise ValueError(
            f"malformed xclbin: AIE_PARTITION of {len(partition)} bytes, less than {PARTITION.size}"
        )
    columns = None if partition is None else int(PARTITION.unpack_from(partition)[0])
    try:
        banks = tuple(
            Bank(_text(tag), base_address, size_kb, bool(used), kind)
            for kind, used, size_kb, base_address, tag in _entries(
                sections, (GROUP_TOPOLOGY, TOPOLOGY), MEMORY, 8
            )
        )
        kernels = (
            _kernels(sections[METADATA], _connected(sections, banks))
            if METADATA in sections
            else ()
        )
        return Container(str(uuid.UUID(bytes=identity)), kernels, banks, columns, _text(vbnv))
    except (UnicodeDecodeError, ET.ParseError) as error:
        raise ValueError(f"malformed xclbin: unreadable text: {error}") from error


def _sections(file: BinaryIO, count: int, size: int) -> dict[int, bytes]:
    """Content by kind of the sections that matter here; that all lie within the file's `size` is checked."""
    if count > MAX_SECTIONS or HEADER.size + count * SECTION.size > size:
        raise ValueError(f"malformed xclbin: {count} section headers do not fit in {size} bytes")
    places: dict[int, tuple[int, int]] = {}
    for kind, offset, length in SECTION.iter_unpack(_take(file, HEADER.size, count * SECTION.size)):
        if offset + length > size:
            raise SectionOutOfRangeError(
                f"malformed xclbin: section of kind {kind} ends at byte {offset + length} of {size}"
            )
        if kind in MAX_READ and length:
            places.setdefault(kind, (offset, min(length, MAX_READ[kind])))
    return {kind: _take(file, *place) for kind, place in places.items()}


def _take(file: BinaryIO, offset: int, length: int) -> bytes:
    file.seek(offset)
    if len(content := file.read(length)) < length:
        raise ValueError("truncated xclbin: it became shorter while it was read")
    return content


def _entries(
    sections: dict[int, bytes], kinds: tuple[int, ...], entry: Struct, first: int
) -> list[tuple[Any, ...]]:
    """What is in the first of `kinds` there is: an int32 count and, from byte `first`, that many entries."""
    section = next((sections[kind] for kind in kinds if kind in sections), bytes(4))
    count = int.from_bytes(section[:4], "little", signed=True)
    if count < 0 or len(section) < max(4, (first + count * entry.size) * (count > 0)):
        raise ValueError(
            f"malformed xclbin: {count} entries in the {len(section)} bytes of a section of {kinds}"
        )
    return list(entry.iter_unpack(section[first : first + count * entry.size]))


def _connected(sections: dict[int, bytes], banks: tuple[Bank, ...]) -> dict[tuple[str, int], int]:
    """Bank by kernel and argument: of a kernel's first instance, the last bank that is used and no stream."""
    kernels = [
        _text(raw).rpartition(":")[0] for (raw,) in _entries(sections, (IP_LAYOUT,), INSTANCE, 8)
    ]
    first = {kernel: instance for instance, kernel in reversed(list(enumerate(kernels)))}
    found: dict[tuple[str, int], int] = {}
    for argument, instance, bank in _entries(
        sections, (GROUP_CONNECTIVITY, CONNECTIVITY), CONNECTION, 4
    ):
        if argument < 0 or not 0 <= instance < len(kernels) or not 0 <= bank < len(banks):
            raise ValueError(
                f"malformed xclbin: connects argument {argument} of instance {instance} to memory {bank}"
            )
        kernel = kernels[instance]
        if first[kernel] == instance and banks[bank].used and banks[bank].type not in STREAMS:
            found[kernel, argument] = max(bank, found.get((kernel, argument), 0))
    return found


def _kernels(metadata: bytes, connected: dict[tuple[str, int], int]) -> tuple[XclbinKernel, ...]:
    """Kernels of the EMBEDDED_METADATA, which as in XRT ends at a NUL; it is UTF-8 whatever it declares."""
    text = metadata.partition(b"\0")[0]
    if b"<!DOCTYPE" in text:
        raise ValueError("malformed xclbin: EMBEDDED_METADATA with a DOCTYPE")
    project = ET.fromstring(text, ET.XMLParser(encoding="utf-8"))
    core = project.find("platform/device/core") if project.tag == "project" else None
    if core is None:
        raise ValueError("malformed xclbin: EMBEDDED_METADATA without project/platform/device/core")
    return tuple(_kernel(kernel, connected) for kernel in core.findall("kernel"))


def _kernel(node: ET.Element, connected: dict[tuple[str, int], int]) -> XclbinKernel:
    name = _attribute(node, "name")
    arguments: dict[int, Argument] = {}
    for item in node.findall("arg"):
        *_, qualifier, index = [
            _number(item, key) for key in ("offset", "size", "hostSize", "addressQualifier", "id")
        ]
        if qualifier > STREAM:
            raise ValueError(f"malformed xclbin: addressQualifier {qualifier} of an argument")
        kind, bank = item.get("type", "no-type"), connected.get((name, index), NO_BANK)
        argument = Argument(
            index, _attribute(item, "name"), kind, qualifier in (GLOBAL, CONSTANT), bank
        )
        if _attribute(item, "id"):
            arguments.setdefault(index, argument)
    if set(arguments) != set(range(len(arguments))):
        raise ValueError(
            f"malformed xclbin: arguments of kernel {name[:64]!r} are not numbered from 0 without a gap"
        )
    return XclbinKernel(name, tuple(arguments[index] for index in range(len(arguments))))


def _attribute(node: ET.Element, key: str) -> str:
    value = node.get(key)
    if value is None:
        raise ValueError(f"malformed xclbin: <{node.tag}> of the EMBEDDED_METADATA without {key}")
    return value


def _number(node: ET.Element, key: str) -> int:
    """A number as C writes it, octal ones refused; 0 if empty, as XRT has it."""
    value = _attribute(node, key) or "0"
    if not NUMBER.fullmatch(value):
        raise ValueError(
            f"malformed xclbin: {key}={value[:40]!r} in the EMBEDDED_METADATA is no number"
        )
    return int(value, 0)


def _text(raw: bytes) -> str:
    return raw.partition(b"\0")[0].decode()
