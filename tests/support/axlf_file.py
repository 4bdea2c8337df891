"""xclbin files, written member by member as XRT's xclbin.h has them; the reader shares no code."""

from __future__ import annotations

import struct

from harness.xclbin import Bank

METADATA, TOPOLOGY, CONNECTIVITY, IP_LAYOUT, GROUP_TOPOLOGY, GROUP_CONNECTIVITY, PARTITION = (
    2,
    6,
    7,
    8,
    26,
    27,
    32,
)
DRAM, STREAMING = 2, 3
SCALAR, GLOBAL, CONSTANT, LOCAL, STREAM = range(5)
UUID = bytes.fromhex("651c6d14b72715f3c4774f4af97bd475")
UUID_TEXT = "651c6d14-b727-15f3-c477-4f4af97bd475"
HOST = Bank("HOST", 0x4000000, 0x10000, True, DRAM)
SRAM = Bank("SRAM", 0x4000000, 0xC000, True, DRAM)
Sections = dict[int, bytes]


def u(value: int, size: int) -> bytes:
    return value.to_bytes(size, "little")


def memories(*banks: Bank) -> bytes:
    """struct mem_topology: entries of 8-byte alignment after an int32."""
    entries = (
        u(bank.type, 1)
        + u(bank.used, 1)
        + bytes(6)
        + u(bank.size_kb, 8)
        + u(bank.base_address, 8)
        # the tag
        + struct.pack("16s", bank.tag.encode())
        for bank in banks
    )
    return u(len(banks), 4) + bytes(4) + b"".join(entries)


def connections(*triples: tuple[int, int, int]) -> bytes:
    """struct connectivity: argument, instance, memory."""
    return u(len(triples), 4) + b"".join(struct.pack("<3i", *triple) for triple in triples)


def instances(*names: str) -> bytes:
    """struct ip_layout of PS kernels with subtype DPU: type, properties, base address, name."""
    entries = (
        u(7, 4) + u(0x9010001, 4) + b"\xff" * 8 + struct.pack("64s", name.encode())
        for name in names
    )
    return u(len(names), 4) + bytes(4) + b"".join(entries)


Image = tuple[bytes, int, tuple[int, ...]]
"""uuid, size in bytes, dpu_kernel_ids."""


def partition(columns: int, *images: Image) -> bytes:
    """struct aie_partition, one start column, and the images of the kernels."""
    info = u(columns, 2) + bytes(6) + u(1, 4) + u(184, 4) + bytes(72)
    head = u(0, 1) + bytes(3) + u(0, 4) + u(2048, 4) + bytes(4) + u(23423, 8) + u(12345, 8)
    # The start column takes 2 of the 8 bytes before the images.
    offset = 192 if images else 184
    whole = head + info + u(len(images), 4) + u(offset, 4) + u(0, 4) + bytes(52)
    assert len(whole) == 184
    if not images:
        return whole + u(1, 2)
    table, data, begin = b"", b"", offset + 96 * len(images)
    for identity, size, ids in images:
        place = begin + len(data)
        group = u(0, 4) + u(1, 1) + bytes(3) + u(1, 8) + u(len(ids), 4) + u(place + 96, 4)
        data += group + bytes(96 - len(group)) + b"".join(u(number, 8) for number in ids)
        table += identity + u(size, 4) + u(begin + len(data), 4) + u(1, 4) + u(place, 4) + bytes(64)
        data += b"i" * size + bytes(-size % 8)
    return whole + u(1, 2) + bytes(6) + table + data


def arg(
    index: int | str,
    name: str,
    kind: str = "void*",
    qualifier: int | str = GLOBAL,
    size: str = "0x8",
) -> str:
    """An argument as xclbinutil writes it."""
    return (
        f'<arg name="{name}" addressQualifier="{qualifier}" id="{index}" size="{size}" '
        f'offset="0x00" hostOffset="0x0" hostSize="{size}" type="{kind}"/>'
    )


def kernel(name: str, *args: str, dpu_id: str = "") -> str:
    """A kernel as xclbinutil writes it; dpu_id: the text of its id, empty for none."""
    data = f'<extended-data subtype="1" functional="0" dpu_kernel_id="{dpu_id}"/>' * bool(dpu_id)
    return (
        f'<kernel name="{name}" language="c" type="dpu">'
        f'{data}{"".join(args)}<instance name="x"/></kernel>'
    )


def xml(*kernels: str) -> bytes:
    core = "".join(kernels)
    text = (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        f"<project><platform><device><core>{core}</core></device></platform>"
    )
    return f"{text}</project>\n".encode()


def build(sections: Sections, vbnv: bytes = b"", count: int | None = None) -> bytes:
    """struct axlf, its section headers, and each section at the next 8 bytes."""
    start = 8 + 4 + 28 + 256 + 8 + 152
    body, table = b"", b""
    for kind, content in sections.items():
        offset = start + 40 * len(sections) + len(body)
        table += (
            u(kind, 4)
            + struct.pack("16s", b"a section's name")
            + bytes(4)
            + u(offset, 8)
            + u(len(content), 8)
        )
        body += content + bytes(-len(content) % 8)
    header = (
        u(start + len(table) + len(body), 8) + u(1795375088, 8) + u(0, 8)
    )  # length, time stamps
    header += u(0, 2) + u(2, 1) + u(25, 1) + u(0, 2) + u(0, 2)  # version, mode, action mask
    header += (
        b"\x11" * 16 + struct.pack("64s", vbnv) + UUID + b"\x22" * 16
    )  # interface, platform, itself, debug
    header += u(len(sections) if count is None else count, 4) + bytes(4)
    head = b"xclbin2\0" + b"\xff" * 4 + b"\xff" * 28 + b"\xff" * 256 + u(0x6B033FF0, 8) + header
    assert len(head) == start
    return head + table + body


ARGUMENTS = (
    *(
        arg(0, "opcode", "uint64_t", SCALAR),
        arg(1, "instr", "char *"),
        arg(2, "ninstr", "uint32_t", SCALAR, "0x4"),
    ),
    *(arg(3 + number, f"bo{number}") for number in range(5)),
)
TYPICAL: Sections = {
    TOPOLOGY: memories(HOST, SRAM),
    PARTITION: partition(4),
    METADATA: xml(kernel("MLIR_AIE", *ARGUMENTS, dpu_id="0x901")),
    IP_LAYOUT: instances("MLIR_AIE:MLIRAIE"),
    CONNECTIVITY: connections((1, 0, 1), *((index, 0, 0) for index in range(3, 8))),
}
