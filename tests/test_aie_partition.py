"""The partition of an xclbin: columns, images and their kernels; and broken ones."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.axlf_file import PARTITION, TYPICAL, UUID, UUID_TEXT, build, partition, u

from harness.aie_partition import MAX_BYTES, Image, Partition, read_partition

OTHER = bytes(16)
OTHER_TEXT = "00000000-0000-0000-0000-000000000000"
WHOLE = partition(8, (UUID, 100, (0x100, 0x101)), (OTHER, 64, (0x901,)))


def read(folder: Path, section: bytes) -> Partition | None:
    path = folder / "some.xclbin"
    path.write_bytes(build({**TYPICAL, PARTITION: section}))
    return read_partition(path)


def test_images_and_their_kernels(tmp_path: Path) -> None:
    images = Image(UUID_TEXT, 100, (0x100, 0x101)), Image(OTHER_TEXT, 64, (0x901,))
    assert read(tmp_path, WHOLE) == Partition(8, (1,), images, 2048)


def test_a_partition_without_images(tmp_path: Path) -> None:
    assert read(tmp_path, partition(4)) == Partition(4, (1,), (), 2048)


def test_an_xclbin_without_a_partition(tmp_path: Path) -> None:
    assert read(tmp_path, b"") is None


def test_the_partition_that_xclbinutil_wrote() -> None:
    path = Path(__file__).parent / "data" / "mlir_aie.xclbin"
    image = Image("00000000-0000-0000-0000-0000deadbeef", 1024, (0x901,))
    assert read_partition(path) == Partition(4, (1,), (image,), 2048)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (40, 4),  # start columns: count, then offset
        (40, 2**32 - 1),
        (44, 2**32 - 1),
        (120, 9),  # images
        (124, 2**32 - 1),
        (192 + 16, 2**32 - 1),  # of the first image: size, offset, groups
        (192 + 20, 2**32 - 1),
        (192 + 24, 2**32 - 1),
        (192 + 28, 2**32 - 1),
    ],
)
def test_arrays_outside_of_the_section(tmp_path: Path, place: int, value: int) -> None:
    # The last bytes of the section, so that one entry more is outside of it.
    section = WHOLE if place != 40 or value != 4 else partition(4)
    broken = section[:place] + u(value, 4) + section[place + 4 :]
    with pytest.raises(ValueError, match=r"^malformed xclbin: AIE_PARTITION of \d+ bytes refers"):
        read(tmp_path, broken)


def test_overlapping_arrays_are_bounded(tmp_path: Path) -> None:
    """Each of many images refers to the same large array of groups."""
    count = 64
    images = (OTHER + u(0, 4) + u(0, 4) + u(1000, 4) + u(192, 4) + bytes(64)) * count
    head = partition(4)[:120] + u(count, 4) + u(192, 4) + bytes(56) + bytes(8)
    section = head + images + bytes(96 * 1000)
    with pytest.raises(ValueError, match=f"lists more than {MAX_BYTES} bytes"):
        read(tmp_path, section)
