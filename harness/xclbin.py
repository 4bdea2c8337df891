"""Reads an xclbin file without XRT and without a device: its kernels, arguments and memory banks.

The container is what XRT calls axlf. Sources, all below src/runtime_src/core of XRT:

    include/xclbin.h               layout: struct axlf and its sections; little-endian, natural
                                   alignment
    common/xclbin_parser.cpp       kernels and arguments
    common/api/xrt_xclbin.cpp      instances and memories
    common/api/xrt_kernel.cpp      `group_id`

As in XRT, a group section takes the place of the plain section of its kind, and only the first
section of each kind counts.
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
"""Bank of an argument without memory: -1 in the 16 bits that XRT's `group_id` has for a bank."""

MAGIC = b"xclbin2\0"
# struct axlf up to m_sections: m_length, VBNV, uuid, m_numSections
HEADER = Struct("<304x Q 40x 64s 16s 16x I 4x")
SECTION = Struct("<I 16x 4x Q Q")  # struct axlf_section_header: kind, offset, size
MEMORY = Struct("<B B 6x Q Q 16s")  # struct mem_data: type, used, size, base address, tag
# struct connection: argument, index in IP_LAYOUT, index in MEM_TOPOLOGY
CONNECTION = Struct("<i i i")
INSTANCE = Struct("<16x 64s")  # struct ip_data: name
PARTITION = Struct("<32x H 150x")  # struct aie_partition: info.column_width

# enum axlf_section_kind
METADATA, TOPOLOGY, CONNECTIVITY, IP_LAYOUT = 2, 6, 7, 8
GROUP_TOPOLOGY, GROUP_CONNECTIVITY, AIE_PARTITION = 26, 27, 32
STREAMS = (3, 9)  # enum MEM_TYPE: MEM_STREAMING, MEM_STREAMING_CONNECTION
# kernel_argument::argtype; global and constant take a bo
QUALIFIERS = "scalar", "global", "constant", "local", "stream"
SCALAR, GLOBAL, CONSTANT, LOCAL, STREAM = range(5)
# C's hexadecimal and decimal forms, with as many digits as 64 bits can have
NUMBER = re.compile(r"0[xX][0-9a-fA-F]{1,16}|0+|[1-9][0-9]{0,19}")

MAX_SECTIONS = 0x10000  # XCLBIN_MAX_NUM_SECTION
# Bytes to read of each section. A partition's device images can be large and are not needed.
MAX_READ = {
    **dict.fromkeys(
        (METADATA, TOPOLOGY, CONNECTIVITY, IP_LAYOUT, GROUP_TOPOLOGY, GROUP_CONNECTIVITY), 4 << 20
    ),
    AIE_PARTITION: PARTITION.size,
}


@dataclass(frozen=True)
class Argument:
    """One argument of a kernel.

    type: its C type. qualifier: SCALAR, GLOBAL, CONSTANT, LOCAL or STREAM. bank: the value of
    `group_id(index)`, its last connection. size_bytes, host_size_bytes: of the value that is
    passed, which is an address for a bo; no xclbin has the size of a bo.
    """

    index: int
    name: str
    type: str
    qualifier: int
    bank: int
    size_bytes: int
    host_size_bytes: int

    @property
    def is_bo(self) -> bool:
        """Whether the argument takes a bo."""
        return self.qualifier in (GLOBAL, CONSTANT)


@dataclass(frozen=True)
class XclbinKernel:
    """One kernel. `arguments` are those that `get_num_args` counts: each id once.

    dpu_id: selects the image of the AIE partition that the kernel needs; None without one.
    """

    name: str
    arguments: tuple[Argument, ...]
    dpu_id: int | None = None


@dataclass(frozen=True)
class Bank:
    """One memory bank. Arguments refer to it by its index in `Container.banks`."""

    tag: str
    base_address: int
    size_kb: int
    used: bool
    type: int


@dataclass(frozen=True)
class Container:
    """The metadata of an xclbin. `columns`: width of its AIE partition, None without one."""

    uuid: str
    kernels: tuple[XclbinKernel, ...]
    banks: tuple[Bank, ...]
    columns: int | None
    xsa_name: str


class SectionOutOfRangeError(ValueError):
    """A section header points beyond the end of the file."""


def read(path: Path) -> Container | None:
    """Read the xclbin at `path`; None if the file is not an xclbin.

    ValueError, with a text of one line, if it is truncated or malformed.
    """
    if path.exists() and not path.is_file():
        return None
    with path.open("rb") as file:
        head = file.read(HEADER.size)
        if not head.startswith(MAGIC):
            return None
        size = path.stat().st_size
        # Filled up, so that a truncated header unpacks; the check of the size follows.
        length, vbnv, identity, count = HEADER.unpack(head.ljust(HEADER.size, b"\0"))
        if size < max(length, HEADER.size):
            raise ValueError(f"truncated xclbin: {size} bytes of {max(length, HEADER.size)}")
        sections = _read_sections(file, section_places(file, count, size))
    partition = sections.get(AIE_PARTITION)
    if partition is not None and len(partition) < PARTITION.size:
        raise ValueError(
            f"malformed xclbin: AIE_PARTITION of {len(partition)} bytes, less than {PARTITION.size}"
        )
    columns = None if partition is None else int(PARTITION.unpack_from(partition)[0])
    try:
        memories = _entries(sections, (GROUP_TOPOLOGY, TOPOLOGY), MEMORY, 8)
        banks = tuple(
            Bank(_text(tag), base_address, size_kb, bool(used), kind)
            for kind, used, size_kb, base_address, tag in memories
        )
        kernels: tuple[XclbinKernel, ...] = ()
        if METADATA in sections:
            kernels = _kernels(sections[METADATA], _connections(sections, banks))
        return Container(str(uuid.UUID(bytes=identity)), kernels, banks, columns, _text(vbnv))
    except (UnicodeDecodeError, ET.ParseError) as error:
        raise ValueError(f"malformed xclbin: unreadable text: {error}") from error


def section_places(file: BinaryIO, count: int, size: int) -> dict[int, tuple[int, int]]:
    """Offset and length of the first section of each kind.

    ValueError if any section ends after `size` bytes.
    """
    if count > MAX_SECTIONS or HEADER.size + count * SECTION.size > size:
        raise ValueError(f"malformed xclbin: {count} section headers do not fit in {size} bytes")
    places: dict[int, tuple[int, int]] = {}
    headers = read_bytes(file, HEADER.size, count * SECTION.size)
    for kind, offset, length in SECTION.iter_unpack(headers):
        if offset + length > size:
            raise SectionOutOfRangeError(
                f"malformed xclbin: section of kind {kind} ends at byte {offset + length} of {size}"
            )
        if length:
            places.setdefault(kind, (offset, length))
    return places


def _read_sections(file: BinaryIO, places: dict[int, tuple[int, int]]) -> dict[int, bytes]:
    """Read the sections in MAX_READ, by kind."""
    return {
        kind: read_bytes(file, places[kind][0], min(places[kind][1], most))
        for kind, most in MAX_READ.items()
        if kind in places
    }


def read_bytes(file: BinaryIO, offset: int, length: int) -> bytes:
    """Read bytes from the file; ValueError if it ends before."""
    file.seek(offset)
    if len(content := file.read(length)) < length:
        raise ValueError("truncated xclbin: the file became shorter while it was read")
    return content


def _entries(
    sections: dict[int, bytes], kinds: tuple[int, ...], entry: Struct, first: int
) -> list[tuple[Any, ...]]:
    """Read the entries of the first section among `kinds` that exists; [] if none does.

    The section begins with an int32 count; its entries start at byte `first`.
    """
    section = next((sections[kind] for kind in kinds if kind in sections), bytes(4))
    count = int.from_bytes(section[:4], "little", signed=True)
    if count < 0 or len(section) < max(4, (first + count * entry.size) * (count > 0)):
        raise ValueError(
            f"malformed xclbin: {count} entries in the {len(section)} bytes of a section of {kinds}"
        )
    return list(entry.iter_unpack(section[first : first + count * entry.size]))


def _connections(sections: dict[int, bytes], banks: tuple[Bank, ...]) -> dict[tuple[str, int], int]:
    """Map (kernel, argument) to its bank.

    As XRT does, use the first instance of a kernel, and of its banks the last that is in use and
    not a stream.
    """
    kernels = [
        _text(raw).rpartition(":")[0] for (raw,) in _entries(sections, (IP_LAYOUT,), INSTANCE, 8)
    ]
    first = {kernel: instance for instance, kernel in reversed(list(enumerate(kernels)))}
    connections: dict[tuple[str, int], int] = {}
    entries = _entries(sections, (GROUP_CONNECTIVITY, CONNECTIVITY), CONNECTION, 4)
    for argument, instance, bank in entries:
        if argument < 0 or not 0 <= instance < len(kernels) or not 0 <= bank < len(banks):
            raise ValueError(
                f"malformed xclbin: connects argument {argument} of instance {instance} "
                f"to memory {bank}"
            )
        kernel = kernels[instance]
        if first[kernel] == instance and banks[bank].used and banks[bank].type not in STREAMS:
            connections[kernel, argument] = max(bank, connections.get((kernel, argument), 0))
    return connections


def _kernels(metadata: bytes, connections: dict[tuple[str, int], int]) -> tuple[XclbinKernel, ...]:
    """Read the kernels from the XML of the EMBEDDED_METADATA section, which ends at a NUL.

    The text is read as UTF-8 whatever encoding it declares, as XRT does.
    """
    text = metadata.partition(b"\0")[0]
    # Entities that a DOCTYPE defines could expand without limit.
    if b"<!DOCTYPE" in text:
        raise ValueError("malformed xclbin: EMBEDDED_METADATA with a DOCTYPE")
    project = ET.fromstring(text, ET.XMLParser(encoding="utf-8"))
    core = project.find("platform/device/core") if project.tag == "project" else None
    if core is None:
        raise ValueError("malformed xclbin: EMBEDDED_METADATA without project/platform/device/core")
    return tuple(_kernel(kernel, connections) for kernel in core.findall("kernel"))


def _kernel(node: ET.Element, connections: dict[tuple[str, int], int]) -> XclbinKernel:
    name = _attribute(node, "name")
    arguments: dict[int, Argument] = {}
    for item in node.findall("arg"):
        # XRT converts all five, so a malformed one makes the file malformed.
        keys = ("offset", "size", "hostSize", "addressQualifier", "id")
        _, size, host_size, qualifier, index = [_number(item, key) for key in keys]
        if qualifier > STREAM:
            raise ValueError(f"malformed xclbin: addressQualifier {qualifier} of an argument")
        bank, kind = connections.get((name, index), NO_BANK), item.get("type", "no-type")
        argument = Argument(index, _attribute(item, "name"), kind, qualifier, bank, size, host_size)
        # An argument without an id is not counted; of several with the same id, the first is.
        if _attribute(item, "id"):
            arguments.setdefault(index, argument)
    if set(arguments) != set(range(len(arguments))):
        raise ValueError(
            f"malformed xclbin: arguments of kernel {name[:64]!r} are not numbered from 0 "
            "without a gap"
        )
    # XRT does not read the id here, so a malformed one does not make the file malformed.
    data = node.find("extended-data")
    text = "" if data is None else data.get("dpu_kernel_id", "")
    dpu_id = int(text, 0) if NUMBER.fullmatch(text) else None
    return XclbinKernel(name, tuple(arguments[index] for index in range(len(arguments))), dpu_id)


def _attribute(node: ET.Element, key: str) -> str:
    value = node.get(key)
    if value is None:
        raise ValueError(f"malformed xclbin: <{node.tag}> of the EMBEDDED_METADATA without {key}")
    return value


def _number(node: ET.Element, key: str) -> int:
    """Read a number in C's decimal or hexadecimal form; 0 if empty, as in XRT.

    ValueError for any other text, and for an octal number.
    """
    value = _attribute(node, key) or "0"
    if not NUMBER.fullmatch(value):
        raise ValueError(
            f"malformed xclbin: {key}={value[:40]!r} in the EMBEDDED_METADATA is not a number"
        )
    return int(value, 0)


def _text(raw: bytes) -> str:
    return raw.partition(b"\0")[0].decode()
