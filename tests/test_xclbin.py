"""xclbin files read as XRT reads them, and broken ones refused in one line.

`build` writes the container member by member as XRT's xclbin.h has it; it shares nothing with the
reader. xclbinutil 2.25 wrote tests/data/mlir_aie.xclbin from inputs as mlir-aie makes them, around
a device image of 1024 bytes that count up; xclbinutil also read back what it holds.
"""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.axlf_file import (
    CONNECTIVITY,
    CONSTANT,
    DRAM,
    GLOBAL,
    GROUP_CONNECTIVITY,
    GROUP_TOPOLOGY,
    HOST,
    IP_LAYOUT,
    LOCAL,
    METADATA,
    PARTITION,
    SCALAR,
    SRAM,
    STREAM,
    STREAMING,
    TOPOLOGY,
    TYPICAL,
    UUID_TEXT,
    arg,
    build,
    connections,
    instances,
    kernel,
    memories,
    partition,
    u,
    xml,
)

from harness.xclbin import NO_BANK, Argument, Bank, Container, XclbinKernel, read

Read = Callable[[bytes], Container | None]


def read_argument(
    index: int, name: str, kind: str, qualifier: int, bank: int, size_bytes: int = 8
) -> Argument:
    """An argument of the size that `support.axlf_file.arg` writes."""
    return Argument(index, name, kind, qualifier, bank, size_bytes, size_bytes)


READ_ARGUMENTS = (
    read_argument(0, "opcode", "uint64_t", SCALAR, NO_BANK),
    read_argument(1, "instr", "char *", GLOBAL, 1),
    read_argument(2, "ninstr", "uint32_t", SCALAR, NO_BANK, 4),
    *(read_argument(3 + number, f"bo{number}", "void*", GLOBAL, 0) for number in range(5)),
)
READ_TYPICAL = Container(
    UUID_TEXT, (XclbinKernel("MLIR_AIE", READ_ARGUMENTS, 0x901),), (HOST, SRAM), 4, "xilinx:npu"
)
FILE = build(TYPICAL, b"xilinx:npu")


@pytest.fixture
def loaded(tmp_path: Path) -> Read:
    """Read bytes as a file."""

    def run(content: bytes) -> Container | None:
        path = tmp_path / "some.xclbin"
        path.write_bytes(content)
        return read(path)

    return run


@pytest.fixture
def refused(loaded: Read) -> Callable[[bytes], str]:
    """Read bytes that must be refused; returns the line it says."""

    def run(content: bytes) -> str:
        with pytest.raises(ValueError, match=r"^(truncated|malformed) xclbin: ") as caught:
            loaded(content)
        return str(caught.value)

    return run


def with_section(kind: int, content: bytes) -> bytes:
    return build({**TYPICAL, kind: content})


def first_arguments(container: Container | None) -> tuple[Argument, ...]:
    assert container is not None
    return container.kernels[0].arguments


def banks_of(container: Container | None) -> list[int]:
    return [argument.bank for argument in first_arguments(container)]


def test_a_typical_one(loaded: Read) -> None:
    assert loaded(FILE) == READ_TYPICAL


def test_one_that_xclbinutil_wrote() -> None:
    path = Path(__file__).parent / "data" / "mlir_aie.xclbin"
    assert read(path) == Container(UUID_TEXT, READ_TYPICAL.kernels, (HOST, SRAM), 4, "")


def test_bytes_after_the_end_do_not_matter(loaded: Read) -> None:
    assert loaded(FILE + b"signature") == READ_TYPICAL


def test_two_kernels(loaded: Read) -> None:
    sections = TYPICAL | {
        METADATA: xml(kernel("first", arg(0, "a"), arg(1, "b")), kernel("second", arg(0, "c"))),
        IP_LAYOUT: instances("second:one", "first", "second:two", "first:one", "third:one"),
        CONNECTIVITY: connections((0, 0, 0), (1, 1, 0), (0, 2, 1), (0, 3, 1), (0, 4, 0), (7, 4, 0)),
    }
    container = loaded(build(sections))
    assert container is not None
    assert container.kernels == (
        XclbinKernel(
            "first",
            (
                read_argument(0, "a", "void*", GLOBAL, 1),
                read_argument(1, "b", "void*", GLOBAL, NO_BANK),
            ),
        ),
        XclbinKernel("second", (read_argument(0, "c", "void*", GLOBAL, 0),)),
    ), "connections are those of a kernel's first instance"


def test_a_kernel_without_instance_is_connected_to_nothing(loaded: Read) -> None:
    assert set(banks_of(loaded(with_section(IP_LAYOUT, instances("MLIR_AIE2:x"))))) == {NO_BANK}
    without = {
        kind: content for kind, content in TYPICAL.items() if kind not in (IP_LAYOUT, CONNECTIVITY)
    }
    assert set(banks_of(loaded(build(without)))) == {NO_BANK}


def test_the_last_memory_counts_that_is_used_and_no_stream(loaded: Read) -> None:
    stream, unused = Bank("stream0", 5, 6, True, STREAMING), Bank("DDR", 0, 1024, False, 1)
    sections = TYPICAL | {
        TOPOLOGY: memories(HOST, SRAM, stream, unused),
        CONNECTIVITY: connections(
            (3, 0, 1), (3, 0, 0), (4, 0, 2), (5, 0, 3), (6, 0, 0), (6, 0, 3), (6, 0, 2)
        ),
    }
    container = loaded(build(sections))
    assert container is not None
    assert container.banks == (HOST, SRAM, stream, unused)
    assert banks_of(container)[3:7] == [1, NO_BANK, NO_BANK, 0]


def test_group_sections_stand_for_plain_ones(loaded: Read) -> None:
    group = Bank("GROUP", 0x4000000, 0x20000, True, DRAM)
    sections = TYPICAL | {
        GROUP_TOPOLOGY: memories(HOST, SRAM, group),
        GROUP_CONNECTIVITY: connections((1, 0, 1), (3, 0, 0), (3, 0, 2), (3, 0, 0)),
    }
    container = loaded(build(sections))
    assert container is not None
    assert container.banks == (HOST, SRAM, group)
    assert banks_of(container)[:5] == [NO_BANK, 1, NO_BANK, 2, NO_BANK]


def test_arguments_count_as_in_xrt(loaded: Read) -> None:
    """In order of their ids, those of one id as the first of them, those of none not at all."""
    listed = (
        arg(2, "late", "int", STREAM),
        arg("", "hidden"),
        arg("0x1", "b", "char", CONSTANT),
        arg(0, "a"),
    )
    again = (
        arg(1, "rest of b", "float", SCALAR),
        arg("", "hidden too"),
        arg(3, "last", "int", LOCAL),
    )
    metadata = xml(kernel("MLIR_AIE", *listed, *again)).replace(b' type="char"', b"")
    assert first_arguments(loaded(with_section(METADATA, metadata))) == (
        read_argument(0, "a", "void*", GLOBAL, NO_BANK),
        read_argument(1, "b", "no-type", CONSTANT, 1),
        read_argument(2, "late", "int", STREAM, NO_BANK),
        read_argument(3, "last", "int", LOCAL, 0),
    )


def test_only_what_is_there(loaded: Read) -> None:
    without = {
        kind: content for kind, content in TYPICAL.items() if kind not in (METADATA, PARTITION)
    }
    assert loaded(build(without)) == Container(UUID_TEXT, (), (HOST, SRAM), None, "")
    assert loaded(build(dict.fromkeys(TYPICAL, b""))) == Container(UUID_TEXT, (), (), None, ""), (
        "empty is absent"
    )
    assert loaded(build({})) == Container(UUID_TEXT, (), (), None, "")
    empty = {kind: bytes(4) for kind in (TOPOLOGY, CONNECTIVITY, IP_LAYOUT)}
    assert loaded(build({**empty, METADATA: xml() + b"\0\0\0"})) == Container(
        UUID_TEXT, (), (), None, ""
    )


def test_a_partition_may_hold_large_images(tmp_path: Path) -> None:
    path = tmp_path / "large.xclbin"
    path.write_bytes(build(TYPICAL | {PARTITION: partition(4) + bytes(9 << 20)}, b"xilinx:npu"))
    tracemalloc.start()
    try:
        assert read(path) == READ_TYPICAL
        assert tracemalloc.get_traced_memory()[1] < 1 << 20, "they are not read"
    finally:
        tracemalloc.stop()


def test_the_first_section_of_a_kind_counts(loaded: Read) -> None:
    content = build({**TYPICAL, 4242: memories(SRAM)}, b"xilinx:npu")
    assert (
        loaded(content.replace(u(4242, 4) + b"a section", u(TOPOLOGY, 4) + b"a section"))
        == READ_TYPICAL
    )


def test_a_memory_as_it_is_stored(loaded: Read) -> None:
    bank = Bank("sixteen letters.", 2**64 - 1, 2**64 - 2, True, 255)
    container = loaded(build({TOPOLOGY: memories(bank)}))
    assert container is not None
    assert container.banks == (bank,)
    assert container.banks[0].used is True


def test_text_is_utf8_whatever_the_metadata_declares(loaded: Read) -> None:
    metadata = xml(kernel("MLIR_AIE", arg(0, "größe")))
    for declared in (b"utf-16", b"big5", b"nosuch", b"latin-1"):
        (argument,) = first_arguments(
            loaded(with_section(METADATA, metadata.replace(b"utf-8", declared)))
        )
        assert argument.name == "größe"


@pytest.mark.parametrize(
    "content", [b"", b"xclbin2", b"xclbin0\0" + FILE[8:], b"\x7fELF", b"xclbin2 is a format\n"]
)
def test_not_an_xclbin(loaded: Read, content: bytes) -> None:
    assert loaded(content) is None


def test_not_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert read(tmp_path / "pipe") is None, "and does not wait for a writer"
    assert read(tmp_path) is None
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "absent")


@pytest.mark.slow
@pytest.mark.parametrize(
    "content", [FILE, build(TYPICAL | {PARTITION: partition(1)[:184]}), build({})]
)
def test_every_truncation_is_refused(
    loaded: Read, refused: Callable[[bytes], str], content: bytes
) -> None:
    assert loaded(content) is not None
    for length in range(len(content)):
        if length < 8:
            assert loaded(content[:length]) is None
        else:
            assert refused(content[:length]).startswith("truncated")


def test_every_section_is_bounded_even_if_the_header_says_too_little(
    refused: Callable[[bytes], str],
) -> None:
    """The header's length is 0, so it is the sections that show which bytes are missing."""
    short = FILE[:304] + bytes(8) + FILE[312:]
    for length in range(8, len(FILE) - 7):
        refused(short[:length])


def survives(loaded: Read, content: bytes) -> None:
    """It reads, or says in one line that it cannot."""
    said = "xclbin: read"
    try:
        loaded(content)
    except ValueError as error:
        said = str(error)
    assert "xclbin: " in said
    assert said.isprintable()


@pytest.mark.slow
@pytest.mark.parametrize("flip", [0x01, 0x20, 0x80, 0xFF])
def test_every_byte_corrupted(loaded: Read, flip: int) -> None:
    for place, byte in enumerate(FILE):
        survives(loaded, FILE[:place] + bytes([byte ^ flip]) + FILE[place + 1 :])


@pytest.mark.slow
@settings(
    max_examples=500,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.integers(0, len(FILE) - 1), st.binary(min_size=1, max_size=8), st.integers(0, len(FILE)))
def test_bytes_corrupted_and_cut(loaded: Read, place: int, written: bytes, cut: int) -> None:
    survives(loaded, FILE[:place] + written + FILE[place + len(written) :])
    survives(loaded, (FILE[:place] + written + FILE[place + len(written) :])[:cut])
    survives(loaded, FILE[:place] + written + FILE[place:])


@pytest.mark.parametrize("count", [6, 1000, 0x10000, 2**31, 2**32 - 1])
def test_more_section_headers_than_there_are(
    loaded: Read, refused: Callable[[bytes], str], count: int
) -> None:
    assert count == 6 or "section headers do not fit" in refused(build(TYPICAL, count=count))
    survives(loaded, build(TYPICAL, count=count))


def test_more_section_headers_than_allowed(loaded: Read, refused: Callable[[bytes], str]) -> None:
    room = bytes(40 * 0x10001)
    assert loaded(build({}, count=0x10000) + room) == Container(UUID_TEXT, (), (), None, "")
    assert "65537 section headers" in refused(build({}, count=0x10001) + room)


@pytest.mark.parametrize(
    ("kind", "said"),
    [(TOPOLOGY, "a section of (26, 6)"), (CONNECTIVITY, "(27, 7)"), (IP_LAYOUT, "(8,)")],
)
def test_more_entries_than_there_are(refused: Callable[[bytes], str], kind: int, said: str) -> None:
    for count in (len(TYPICAL[kind]), 2**31 - 1, 2**32 - 1, 2**31):
        assert said in refused(with_section(kind, u(count, 4) + TYPICAL[kind][4:]))
    one_more = u(TYPICAL[kind][0] + 1, 4) + TYPICAL[kind][4:]
    assert said in refused(with_section(kind, one_more))
    assert said in refused(with_section(kind, TYPICAL[kind][:-1]))
    assert said in refused(with_section(kind, bytes(3)))


@pytest.mark.parametrize(
    ("offset", "length"), [(2**64 - 8, 16), (8, 2**64 - 1), (2**64 - 1, 2**64 - 1), (2**63, 1)]
)
@pytest.mark.parametrize("kind", [METADATA, 4242])
def test_sections_beyond_the_end(
    refused: Callable[[bytes], str], kind: int, offset: int, length: int
) -> None:
    content = build({kind: xml()})
    placed = content[: 456 + 24] + u(offset, 8) + u(length, 8) + content[456 + 40 :]
    assert f"section of kind {kind} ends at byte {offset + length}" in refused(placed)


@pytest.mark.parametrize(
    ("kind", "content", "said"),
    [
        (PARTITION, partition(4)[:183], "AIE_PARTITION of 183 bytes"),
        (CONNECTIVITY, connections((1, 0, 2)), "memory 2"),
        (CONNECTIVITY, connections((1, 0, -1)), "memory -1"),
        (CONNECTIVITY, connections((1, 1, 0)), "instance 1"),
        (CONNECTIVITY, connections((1, -1, 0)), "instance -1"),
        (CONNECTIVITY, connections((-1, 0, 0)), "argument -1"),
        (IP_LAYOUT, instances("MLIR_AIE:MLIRAIE").replace(b":", b"\xff"), "can't decode byte 0xff"),
        (TOPOLOGY, memories(HOST, SRAM).replace(b"SRAM", b"\xc3\x28AM"), "can't decode"),
        (METADATA, b"\0", "no element found"),
        (METADATA, xml()[:-12], "line 2"),
        (METADATA, xml(kernel("\x01")), "not well-formed"),
        (METADATA, xml(kernel("k")).replace(b'"k"', b'"\xff"'), "not well-formed"),
        (METADATA, xml().replace(b"core>", b"heart>"), "without project/platform/device/core"),
        (METADATA, xml().replace(b"project>", b"product>"), "without project/platform/device/core"),
        (
            METADATA,
            xml(kernel("k")).replace(b"name=", b"nom="),
            "<kernel> of the EMBEDDED_METADATA without name",
        ),
        (METADATA, xml(kernel("k", arg(0, "a"), arg(2, "b"))), "'k' are not numbered from 0"),
        (METADATA, xml(kernel("k", arg(1, "b"))), "'k' are not numbered from 0"),
        (METADATA, xml(kernel("k" * 1000, arg(1, "b"))), "k' are not numbered from 0"),
        (METADATA, xml(kernel("k", arg(2**64 - 1, "b"))), "'k' are not numbered from 0"),
        (METADATA, xml(kernel("k", arg("0", "a", qualifier=5))), "addressQualifier 5"),
        (METADATA, xml(kernel("k", arg("-1", "a"))), "id='-1'"),
        (METADATA, xml(kernel("k", arg("010", "a"))), "id='010'"),
        (METADATA, xml(kernel("k", arg("9" * 5000, "a"))), "is not a number"),
        (METADATA, xml(kernel("k", arg("one&#10;two", "a"))), r"id='one\ntwo'"),
        *(
            (
                METADATA,
                xml(kernel("k", arg(0, "a").replace(f" {key}=", " _="))),
                f"<arg> of the EMBEDDED_METADATA {said}",
            )
            for key, said in [
                (key, f"without {key}") for key in ("id", "name", "size", "offset", "hostSize")
            ]
        ),
    ],
)
def test_malformed(refused: Callable[[bytes], str], kind: int, content: bytes, said: str) -> None:
    line = refused(with_section(kind, content))
    assert said in line
    assert line.isprintable()
    assert len(line) < 200


def test_a_platform_that_is_no_text(refused: Callable[[bytes], str]) -> None:
    assert "can't decode" in refused(build(TYPICAL, b"\xff"))


def test_no_entity_is_expanded(refused: Callable[[bytes], str]) -> None:
    entities = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10 if n else "lol"}">' for n in range(12))
    bomb = xml(kernel("&e11;")).replace(
        b"<project>", f"<!DOCTYPE project [{entities}]><project>".encode()
    )
    assert "DOCTYPE" in refused(with_section(METADATA, bomb))
    assert "unclosed token" in refused(with_section(METADATA, bomb.decode().encode("utf-16")))
