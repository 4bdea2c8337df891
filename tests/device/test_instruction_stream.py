"""Instruction streams: device, arguments that are read and written, and wrong ones."""

from __future__ import annotations

import numpy as np
import pytest
from support.txn_file import (
    MM2S,
    S2MM,
    block_write,
    mask_write,
    patch,
    stream,
    sync,
    transfer,
    words,
    write,
)

from harness.device.xrt.instruction_stream import READS, WRITES, Stream, read_stream


def read(content: bytes) -> Stream | None:
    return read_stream(np.frombuffer(content, np.uint8))


def uses(*operations: bytes) -> dict[int, frozenset[str]] | None:
    found = read(stream(*operations))
    assert found
    return None if found.arguments is None else dict(found.arguments)


def test_the_header() -> None:
    content = stream(sync(), generation=4, columns=8)
    assert read(content) == Stream(4, 8, 1, len(content), {})


@pytest.mark.parametrize("content", [b"", bytes(12), stream(version=1), stream(version=0x200)])
def test_another_version_is_not_read(content: bytes) -> None:
    assert read(content) is None


def test_arguments_that_are_read_and_written() -> None:
    assert uses(
        *transfer(0, MM2S),
        *transfer(1, MM2S + 8, descriptor=1),
        *transfer(2, S2MM, column=1),
        *transfer(3, S2MM + 8, descriptor=15),
        *transfer(3, MM2S, descriptor=3),
        mask_write(0x1D210, 0x300),
        sync(),
    ) == {
        3: frozenset({READS}),
        4: frozenset({READS}),
        5: frozenset({WRITES}),
        6: frozenset({READS, WRITES}),
    }


def test_a_descriptor_belongs_to_the_argument_of_its_last_patch() -> None:
    assert uses(*transfer(0, MM2S), *transfer(1, S2MM)) == {
        3: frozenset({READS}),
        4: frozenset({WRITES}),
    }


def test_an_argument_without_a_transfer_is_used() -> None:
    assert uses(patch(0x1D004, 2), write(0x1D208, 0)) == {5: frozenset()}


def test_operations_of_a_fixed_size_are_skipped() -> None:
    fixed = words(5), words(0x106), words(0x10008, 0, 0, 0), words(9, 0)
    assert uses(*fixed, *transfer(0, MM2S)) == {3: frozenset({READS})}


@pytest.mark.parametrize(
    "wrong",
    [
        words(14, 0, 0, 0),  # CONFIG_SHIMDMA_BD
        words(0x81, 0),
        words(0x81, 4),
        words(0x81, 4096),
        words(1, 0, 0, 3),
        words(1, 0),
        block_write(0, 1)[:-4],
    ],
)
def test_an_operation_that_is_not_known_leaves_the_arguments_unknown(wrong: bytes) -> None:
    assert uses(*transfer(0, MM2S), wrong) is None


def test_a_count_beyond_the_end() -> None:
    content = stream(sync())
    more = content[:8] + words(0xFFFFFFFF) + content[12:]
    found = read(more)
    assert found
    assert (found.operations, found.arguments) == (0xFFFFFFFF, None)
