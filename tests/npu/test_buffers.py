"""bos: what the host writes and reads, and what the device sees of it."""

from __future__ import annotations

import numpy as np
import pytest

from npu.bench import INPUT, OUTPUT, Bench

SIZE = 3 * 4096


def content(size: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, size, np.uint8)


def test_round_trip(npu: Bench) -> None:
    bo, data = npu.bo(npu.open(), SIZE), content(SIZE)
    assert bo.size() == SIZE
    bo.write(data, 0)
    bo.sync(npu.to_device)
    bo.sync(npu.from_device)
    got = bo.read(SIZE, 0)
    assert got.dtype == np.int8
    np.testing.assert_array_equal(got.view(np.uint8), data)
    got[:] = 0
    np.testing.assert_array_equal(bo.read(SIZE, 0).view(np.uint8), data, "what was read is a copy")


def test_parts(npu: Bench) -> None:
    bo, data, part = npu.bo(npu.open(), SIZE), content(SIZE), content(128, 1)
    bo.write(data, 0)
    bo.write(part, 4096)
    data[4096:4224] = part
    bo.sync(npu.to_device, 8192, 0)
    bo.sync(npu.to_device, 4096, 8192)
    bo.sync(npu.from_device, 4096, 4096)
    np.testing.assert_array_equal(
        bo.read(256, 4096 - 64).view(np.uint8), data[4096 - 64 : 4096 + 192]
    )
    for call in (lambda: bo.write(part, SIZE - 127), lambda: bo.read(128, SIZE - 127)):
        with pytest.raises(RuntimeError, match="past buffer size"):
            call()


def test_map_is_no_copy(npu: Bench) -> None:
    bo, data = npu.bo(npu.open(), SIZE), content(SIZE)
    view, again = (np.frombuffer(bo.map(), np.uint8) for _ in range(2))
    assert (len(view), view.flags.writeable) == (SIZE, True)
    bo.write(data, 0)
    np.testing.assert_array_equal(view, data)
    view[100:200] = 7
    np.testing.assert_array_equal(again[99:201], [data[99], *[7] * 100, data[200]])
    np.testing.assert_array_equal(bo.read(102, 99).view(np.uint8), again[99:201])


def test_sub_buffers(npu: Bench) -> None:
    root, data = npu.bo(npu.open(), SIZE), content(4096)
    parts = [npu.pyxrt.bo(root, 4096, offset) for offset in (0, 4096, 8192)]
    assert [part.address() - root.address() for part in parts] == [0, 4096, 8192]
    parts[1].write(data, 0)
    parts[1].sync(npu.to_device)
    parts[1].sync(npu.from_device)
    np.testing.assert_array_equal(root.read(4096, 4096).view(np.uint8), data)
    np.testing.assert_array_equal(np.frombuffer(parts[1].map(), np.uint8), data)
    assert not root.read(4096, 0).any()
    assert not root.read(4096, 8192).any()
    with pytest.raises(RuntimeError):
        npu.pyxrt.bo(root, 4096, SIZE - 4095)


def test_a_kernel_on_sub_buffers(npu: Bench) -> None:
    """Each writes its own part, and nothing else."""
    opened = npu.open()
    sources, targets = (
        npu.bo(opened, 3 * INPUT.stride_bytes),
        npu.bo(opened, 3 * OUTPUT.stride_bytes, 1),
    )
    jobs = [
        npu.bind(
            opened,
            npu.pyxrt.bo(sources, INPUT.size_bytes, tile * INPUT.stride_bytes),
            npu.pyxrt.bo(targets, OUTPUT.size_bytes, tile * OUTPUT.stride_bytes),
        )
        for tile in range(3)
    ]
    for seed, job in enumerate(jobs):
        npu.stage(job, seed)
    for tile in (0, 2):
        jobs[tile].start()
        assert jobs[tile].run.wait() == npu.state.ERT_CMD_STATE_COMPLETED
    npu.check(jobs[0], jobs[2])
    np.testing.assert_array_equal(npu.output(jobs[1]), ~jobs[1].expected)


@pytest.mark.parametrize("kind", ["normal", "device_only", "p2p", "svm"])
def test_kinds_that_an_npu_has_not(npu: Bench, kind: str) -> None:
    group = npu.open().kernel.group_id(3)
    with pytest.raises(RuntimeError, match=r"err=(22|95)"):
        npu.pyxrt.bo(npu.device, 4096, getattr(npu.pyxrt.bo, kind), group)


def test_nothing(npu: Bench) -> None:
    opened = npu.open()
    with pytest.raises(RuntimeError):
        npu.bo(opened, 0)


def test_groups(npu: Bench) -> None:
    """Scalars have no bank; data is in bank 0, instructions in bank 1, the context's slot above."""
    first, second = npu.open(), npu.open()
    groups = [[opened.kernel.group_id(index) for index in range(5)] for opened in (first, second)]
    for banks in groups:
        assert [group & 0xFFFF for group in banks] == [0xFFFF, 1, 0xFFFF, 0, 0]
    assert groups[0][3] >> 16 != groups[1][3] >> 16
    for index in (-1, 1000):
        assert first.kernel.group_id(index) == groups[0][0], "that of a scalar"
