"""The simulated pyxrt on its own, as a script would use it."""

from __future__ import annotations

import numpy as np
import pytest
from support.one_kernel import FROM_DEVICE, STATE, TO_DEVICE, Rig, fill

from harness.config.device import Hazards
from harness.sim import pyxrt
from harness.sim.memory import UNDEFINED


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_a_script(rig: Rig) -> None:
    operands, total = rig.bo(256), rig.bo(128)
    data = fill(operands)
    operands.sync(TO_DEVICE)
    run = rig.run(operands, total)
    run.start()
    assert run.state() is STATE.ERT_CMD_STATE_NEW, "as amdxdna shows a run in flight"
    assert run.wait() is STATE.ERT_CMD_STATE_COMPLETED
    total.sync(FROM_DEVICE)
    np.testing.assert_array_equal(np.frombuffer(total.map(), np.int8), data[:128] + data[128:])
    assert rig.machine.clock.now_ns == 3 * 1 + 10 + 20 + 100 + 7 + 5, "three bos, and each stage"


def test_copies_are_apart_until_sync(rig: Rig) -> None:
    operands, total = rig.bo(256), rig.bo(128)
    data = fill(operands)
    operands.sync(TO_DEVICE)
    run = rig.run(operands, total)
    run.start()
    run.wait()
    assert not np.frombuffer(total.map(), np.uint8).any(), (
        "not synced back: the host still sees its own zeros"
    )
    total.sync(FROM_DEVICE)
    np.testing.assert_array_equal(np.frombuffer(total.map(), np.int8), data[:128] + data[128:])


def test_a_sync_moves_whole_lines(rig: Rig) -> None:
    bo = rig.bo(256)
    view = np.frombuffer(bo.map(), np.uint8)
    view[:] = 1
    bo.sync(TO_DEVICE, 10, 60)
    assert [
        line.tolist()
        for line in np.frombuffer(bo._range.memory.device, np.uint8)[::64].reshape(-1, 1)
    ] == [
        [1],
        [1],
        [0],
        [0],
    ]


def test_a_sync_back_writes_changed_lines_to_the_device_first(rig: Rig) -> None:
    """Both directions flush and invalidate.

    Lines that the host changed overwrite what the device wrote.
    """
    rig = Rig(hazards=Hazards.off)
    operands, total = rig.bo(256), rig.bo(128)
    fill(operands)[:] = 3
    operands.sync(TO_DEVICE)
    view = np.frombuffer(total.map(), np.uint8)
    view[70] = 9
    run = rig.run(operands, total)
    run.start()
    run.wait()
    total.sync(FROM_DEVICE)
    assert view[:64].tolist() == [6] * 64, "a line that the host left alone"
    assert view[64:].tolist() == [0] * 6 + [9] + [0] * 57, "a line that it wrote to"


def test_sub_buffers_alias_their_parent(rig: Rig) -> None:
    parent = rig.bo(256)
    child = pyxrt.bo(parent, 64, 128)
    np.frombuffer(child.map(), np.uint8)[:] = 9
    assert child.size() == 64
    assert np.frombuffer(parent.map(), np.uint8)[128:192].tolist() == [9] * 64
    child.sync(TO_DEVICE)
    assert bytes(parent._range.memory.device[128:192]) == bytes([9] * 64)
    with pytest.raises(RuntimeError, match="sub buffer size and offset"):
        pyxrt.bo(parent, 200, 128)


def test_inputs_that_change_during_execution_spoil_the_output(rig: Rig) -> None:
    operands, total = rig.bo(256), rig.bo(128)
    fill(operands)
    operands.sync(TO_DEVICE)
    run = rig.run(operands, total)
    run.start()
    fill(operands, seed=1)
    operands.sync(TO_DEVICE)
    run.wait()
    total.sync(FROM_DEVICE)
    assert (np.frombuffer(total.map(), np.uint8) == UNDEFINED).all()


def test_an_output_read_during_execution_is_undefined(rig: Rig) -> None:
    operands, total = rig.bo(256), rig.bo(128)
    fill(operands)
    operands.sync(TO_DEVICE)
    run = rig.run(operands, total)
    run.start()
    total.sync(FROM_DEVICE)
    assert (np.frombuffer(total.map(), np.uint8) == UNDEFINED).all()
    run.wait()


def test_wait_with_a_timeout_leaves_the_run_in_flight(rig: Rig) -> None:
    slow = Rig(exec_ns={"add": 5_000_000})
    operands, total = slow.bo(256), slow.bo(128)
    run = slow.run(operands, total)
    run.start()
    begin = slow.machine.clock.now_ns
    with pytest.raises(RuntimeError, match="unexpected command state"):
        run.wait(2)
    assert slow.machine.clock.now_ns == begin + 2_000_000
    assert run.state() is STATE.ERT_CMD_STATE_NEW
    assert run.wait(0) is STATE.ERT_CMD_STATE_COMPLETED


def test_a_run_in_flight_cannot_be_started_again(rig: Rig) -> None:
    run = rig.run(rig.bo(256), rig.bo(128))
    run.start()
    with pytest.raises(RuntimeError, match="bad command state, can't launch"):
        run.start()
    run.wait()
    run.start()
    run.wait()


def test_a_runlist_runs_in_order_in_chains(rig: Rig) -> None:
    rig = Rig(chain_length=2, chain_command_ns=3)
    pairs = [(rig.bo(256), rig.bo(128)) for _ in range(5)]
    runlist = pyxrt.runlist(rig.context)
    members = [rig.run(*pair) for pair in pairs]
    for member in members:
        runlist.add(member)
    for index, (operands, _) in enumerate(pairs):
        fill(operands, index)
        operands.sync(TO_DEVICE)
    begin = rig.machine.clock.now_ns
    runlist.execute()
    with pytest.raises(RuntimeError, match="must be idle"):
        runlist.execute()
    runlist.wait()
    assert rig.machine.clock.now_ns - begin == 20 + 100 + 103 + 100 + 103 + 100 + 7, (
        "each chain begins without dispatch"
    )
    assert all(member.state() is STATE.ERT_CMD_STATE_NEW for member in members)
    with pytest.raises(RuntimeError, match="belongs to a runlist"):
        members[0].start()
    runlist.execute()
    runlist.wait()


def test_limits(rig: Rig) -> None:
    contexts = [pyxrt.hw_context(rig.device, rig.uuid) for _ in range(5)]
    with pytest.raises(
        RuntimeError, match=r"CREATE_HWCTX IOCTL failed \(err=-22\): Invalid argument"
    ):
        pyxrt.hw_context(rig.device, rig.uuid)
    del contexts
    pyxrt.hw_context(rig.device, rig.uuid)
    with pytest.raises(RuntimeError, match=r"unsupported buffer type: none flag"):
        pyxrt.bo(rig.device, 64, pyxrt.bo.normal, 0)
    with pytest.raises(RuntimeError, match="No such device with index '1'"):
        pyxrt.device(1)
    with pytest.raises(RuntimeError, match=r"No such file or directory 'other.xclbin'"):
        pyxrt.xclbin("other.xclbin")


def test_contexts_of_one_column_share_it(rig: Rig) -> None:
    """A fifth context on four columns: its commands queue behind the others of its column."""
    kernels = [pyxrt.kernel(pyxrt.hw_context(rig.device, rig.uuid), "add") for _ in range(4)]
    runs = []
    for kernel in [rig.kernel, *kernels]:
        rig.kernel = kernel
        runs.append(rig.run(rig.bo(256), rig.bo(128)))
    for run in runs:
        run.start()
    for run in runs:
        run.wait()
    spans = rig.machine.take_trace()[:, 2:].tolist()
    columns = [column for column, _, _ in spans]
    assert columns == [0, 1, 2, 3, 0]
    assert spans[4][1] == spans[0][2], "begins when the first context's execution ends"


def test_enum_values() -> None:
    assert {name: value.value for name, value in STATE.__members__.items()} == {
        "ERT_CMD_STATE_NEW": 1,
        "ERT_CMD_STATE_QUEUED": 2,
        "ERT_CMD_STATE_COMPLETED": 4,
        "ERT_CMD_STATE_ERROR": 5,
        "ERT_CMD_STATE_ABORT": 6,
        "ERT_CMD_STATE_SUBMITTED": 7,
        "ERT_CMD_STATE_TIMEOUT": 8,
        "ERT_CMD_STATE_NORESPONSE": 9,
        "ERT_CMD_STATE_SKERROR": 10,
        "ERT_CMD_STATE_SKCRASHED": 11,
    }
    assert int(pyxrt.bo.flags.host_only) == 0x2000_0000
    assert (int(TO_DEVICE), int(FROM_DEVICE)) == (0, 1)
