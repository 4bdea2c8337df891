"""The simulated pyxrt against pyxrt 2.25.0: what both do without a device, and the known rest.

A script made tests/data/pyxrt_2_25.json from the real module, in a system without an NPU: its
"about" says how. What needs a device follows XRT 2.25's binary (its texts) and sources, and the
amdxdna driver.
"""

from __future__ import annotations

import copy
import gc
import operator
import pickle
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.one_kernel import FROM_DEVICE, STATE, TO_DEVICE, Rig, fill
from support.surface import DATA, SURFACE, XCLBIN, observe

from harness.config.device import Faults, Hazards, PowerMode, Simulator
from harness.sim import pyxrt
from harness.sim.clock import ProcessAborted
from harness.sim.device import plug
from harness.sim.kernel_model import KernelModel, argument_banks
from harness.sim.machine import Machine
from harness.sim.pybind import public
from harness.sim.xclbin import machines

NULLS = {"BO": "pyxrt.bo.__new__(pyxrt.bo)", "KERNEL": "pyxrt.kernel.__new__(pyxrt.kernel)"}
ARITY = re.compile(
    r"missing \d+ required|takes (no|\d+|from \d+)|unexpected keyword|positional-only arg"
)
"""How Python refuses what pybind11 refuses by its list of signatures."""
OTHER_SELF = "a method called on another type's object"
DELIBERATE = {
    "pyxrt.ert_cmd_state.ERT_CMD_STATE_COMPLETED "
    "is pyxrt.ert_cmd_state(4)": "members are found, not made anew",
    "import enum ;; issubclass(pyxrt.ert_cmd_state, enum.Enum)": "Python's enumerations serve",
    "pyxrt.xrt_info_device.bdf.name, "
    "type(pyxrt.xrt_info_device.bdf.name)": "Python 3.11's enumerations know better",
    "pyxrt.bo.__new__(pyxrt.bo)"
    ".sync(pyxrt.xclBOSyncDirection(7))": "the direction is looked at first",
    "pyxrt.hw_context.access_mode.__qualname__, pyxrt.hw_context.access_mode.__module__, "
    "pyxrt.hw_context.access_mode.__name__": "the module that pickle finds it in",
    "pyxrt.bo.__init__()": OTHER_SELF,
    "pyxrt.bo.write(5, b'x', 0)": OTHER_SELF,
    "pyxrt.xclbin.get_kernels(5)": OTHER_SELF,
}


def agrees(code: str, got: dict[str, Any], real: dict[str, Any]) -> bool:
    """Whether the simulator's behaviour is the real one, up to how Python tells of it."""
    if (
        "ends" in real
        or "ok" in real
        or {**got, "text": ""}
        != {k: v for k, v in {**real, "text": ""}.items() if k != "signatures"}
    ):
        return got == {"ends": real["ends"]} if "ends" in real else got == real
    said, expected = (found["text"].replace("pyxrt.", "") for found in (got, real))
    if "signatures" not in real:
        return said.startswith(expected) if real["raises"] == "AttributeError" else said == expected
    name = real["signatures"].split(".")[-1]
    if ARITY.search(said):
        return f"{name}() " in said
    head, *lines = SURFACE["signatures"][real["signatures"]]
    if real["signatures"] == "hw_context.__init__":
        lines = lines[:10]  # without those that take an elf, or nothing yet
    listed = "\n".join([head, *lines]).replace("pyxrt.", "")
    if "kwargs:" in expected:
        return said.startswith(f"{listed}\n\nInvoked with:")
    return said == f"{listed}\n\n{expected}"


@pytest.fixture
def unplugged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """What probes see: no device, and an xclbin in the working directory."""
    rig = Rig()
    names = {"pyxrt": pyxrt, "X": XCLBIN, "BO": rig.bo(64), "KERNEL": rig.kernel}
    shutil.copy(DATA / XCLBIN, tmp_path)
    monkeypatch.chdir(tmp_path)
    plugged = machines[:]
    machines.clear()
    yield names
    machines[:] = plugged


@pytest.mark.parametrize("code", SURFACE["probes"])
def test_without_a_device(code: str, unplugged: dict[str, Any]) -> None:
    real = SURFACE["probes"][code]
    for name, null in NULLS.items():
        if "raises" in real:  # the real one looks at arguments before it follows the null pointer
            code = code.replace(null, name)
    got = observe(code, unplugged)
    assert agrees(code, got, real) == (code not in DELIBERATE), f"{got}, but the real pyxrt: {real}"


def test_the_table_is_not_empty() -> None:
    assert len(SURFACE["probes"]) > 450
    assert {"ok", "raises", "ends"} == {next(iter(found)) for found in SURFACE["probes"].values()}
    assert not {*DELIBERATE} - {*SURFACE["probes"]}


@pytest.mark.parametrize("path", SURFACE["names"])
def test_names(path: str) -> None:
    owner: Any = pyxrt
    for part in filter(None, path.split(".")):
        owner = getattr(owner, part)
    expected = set(SURFACE["names"][path])
    if path in SURFACE["enums"]:
        assert isinstance(next(iter(owner.__members__.values())).value, int)
        expected -= {"name", "value"} - {
            *owner.__members__
        }  # properties, which Python does not list
    assert set(public(owner)) == expected


@pytest.mark.parametrize("path", SURFACE["enums"])
def test_enumerations(path: str) -> None:
    real = SURFACE["enums"][path]
    holder = getattr(pyxrt, path.split(".")[0]) if "." in path else pyxrt
    members = getattr(holder, path.split(".")[-1]).__members__
    assert {name: member.value for name, member in members.items()} == real["members"]
    assert list(members) == list(real["members"])
    assert [str(member) for member in members.values()] == real["str"]
    assert [repr(member) for member in members.values()] == real["repr"]
    assert all(bool(member) == real["true"] for member in members.values())
    assert all(
        (hash(member) == int(member)) == real["hash is its number"] for member in members.values()
    )
    for member in members.values():
        assert (member == int(member), int(member) == member) == (real["equals its number"],) * 2
        assert (member != int(member)) != real["equals its number"]
        assert pickle.loads(pickle.dumps(member)) is copy.copy(member) is member
    exported = {name for name, member in members.items() if holder.__dict__.get(name) is member}
    assert exported == set(real["exported"])


@pytest.mark.parametrize("name", SURFACE["left out"])
def test_what_the_simulator_leaves_out(name: str) -> None:
    with pytest.raises(
        AttributeError,
        match=rf"^module 'pyxrt' has no attribute '{name}' in the simulator.*runlist",
    ):
        getattr(pyxrt, name)


def test_the_error_for_an_unknown_attribute_lists_the_names() -> None:
    rig = Rig()
    for owner, has in (
        (
            rig.run(rig.bo(256), rig.bo(128)),
            "add_callback, get_ctrl_scratchpad_bo, set_arg, start, state, wait, wait2",
        ),
        (pyxrt.run, "add_callback, get_ctrl_scratchpad_bo, set_arg, start, state, wait, wait2"),
        (pyxrt.bo, "host_only"),
        (pyxrt.xclbin.xclbinkernel, "get_name, get_num_args"),
        (pyxrt.ert_cmd_state, "ERT_CMD_STATE_ABORT"),
        (pyxrt.info, "alert"),
    ):
        with pytest.raises(
            AttributeError, match=rf"has no attribute 'abort'; pyxrt 2.25 has: .*{has}"
        ):
            operator.attrgetter("abort")(owner)
    with pytest.raises(
        AttributeError, match=r"module 'pyxrt' has no attribute 'queue' in the simulator.*xclbin"
    ):
        operator.attrgetter("queue")(pyxrt)
    assert dir(pyxrt) == sorted(pyxrt.__all__)


def test_objects_are_closed() -> None:
    rig = Rig()
    for each in (
        rig.device,
        rig.context,
        rig.kernel,
        rig.instructions,
        rig.uuid,
        pyxrt.runlist(rig.context),
    ):
        with pytest.raises(
            AttributeError,
            match="has no attribute 'note' and no __dict__ for setting new attributes",
        ):
            each.note = 1
        with pytest.raises(TypeError, match="cannot pickle 'pyxrt"):
            copy.copy(each)
    with pytest.raises(AttributeError, match="attribute 'sync' is read-only"):
        rig.instructions.sync = None


# With a device.


def test_integers_as_pybind11_takes_them() -> None:
    rig = Rig()
    run = rig.run(rig.bo(256), rig.bo(128))
    for value in (
        3,
        True,
        np.uint32(3),
        np.int64(3),
        np.float32(3),
        2**31 - 1,
        -(2**31),
        pyxrt.bo.host_only,
    ):
        run.set_arg(0, value)
    for value in (
        2**31,
        -(2**31) - 1,
        2**64,
        1.5,
        3.0,
        "3",
        b"3",
        bytearray(b"3"),
        None,
        [3],
        {},
        np.float64(3),
    ):
        with pytest.raises(TypeError, match=r"set_arg\(\): incompatible function arguments"):
            run.set_arg(0, value)
    for timeout in (-1, 1.5, None, 2**32, 2**33, "1"):
        with pytest.raises(TypeError, match=r"wait\(\): incompatible function arguments"):
            run.wait(timeout)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        ("bo.sync(0)", r"sync\(\): incompatible function arguments.*2\. \(self"),
        ("bo.sync(TO_DEVICE, 4)", r"sync\(\): incompatible"),
        ("bo.sync(TO_DEVICE, 4, -1)", r"sync\(\): incompatible"),
        ("bo.sync(TO_DEVICE, 4.0, 0)", r"sync\(\): incompatible"),
        ("bo.sync(TO_DEVICE, size=4, offset=0)", r"sync\(\) got (some|an)"),
        ("bo.read(4)", r"read\(\) missing"),
        ("bo.read(-1, 0)", r"read\(\): incompatible"),
        ("bo.write(b'x')", r"write\(\) missing"),
        ("bo.write(5, 0)", r"write\(\): incompatible"),
        ("bo.write('x', 0)", r"write\(\): incompatible"),
        (
            "pyxrt.bo(rig.device, 64, 0, 0)",
            r"4\. pyxrt\.bo\(arg0: pyxrt\.bo, arg1: int, arg2: int\)\n\nInvoked with: <pyxrt",
        ),
        ("pyxrt.bo(rig.device, 64, 0)", r"__init__\(\): incompatible constructor"),
        ("pyxrt.bo(rig.context, 64.0, 0)", r"__init__\(\): incompatible constructor"),
        (
            "run.wait2(100)",
            r"wait2\(\): incompatible.*std::chrono.*Did you forget to `#include <pybind11/stl\.h>`",
        ),
        (
            "run.add_callback(STATE.ERT_CMD_STATE_COMPLETED, print, None)",
            r"add_callback\(\): incompatible.*Did you forget",
        ),
        (
            "pyxrt.runlist(rig.context).wait(100)",
            r"wait\(\): incompatible.*std::chrono.*Did you forget",
        ),
        ("pyxrt.runlist(rig.context).add(rig.kernel)", r"add\(\): incompatible"),
        ("rig.kernel.group_id('1')", r"group_id\(\): incompatible"),
        ("rig.kernel(opcode=3)", r"__call__\(\) got an unexpected keyword"),
        ("rig.device.get_info('name')", r"get_info\(\): incompatible"),
        ("rig.device.register_xclbin('add.xclbin')", r"register_xclbin\(\): incompatible"),
        ("pyxrt.xclbin('add.xclbin').get_axlf()", r"Unable to convert function return value"),
        ("rig.context.add_config('elf')", r"add_config\(\): incompatible"),
    ],
)
def test_type_errors(call: str, text: str) -> None:
    rig = Rig()
    bo = rig.bo(256)
    names = {**globals(), "rig": rig, "bo": bo, "run": rig.run(bo, rig.bo(128))}
    with pytest.raises(TypeError, match=f"(?s){text}"):
        eval(call, names)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        *(
            (
                f"pyxrt.bo(rig.device, 64, pyxrt.bo.{kind}, 0)",
                RuntimeError,
                "Bad BO type. (err=22): Invalid argument",
            )
            for kind in ("device_only", "p2p", "svm")
        ),
        *(
            (
                call,
                RuntimeError,
                "unsupported buffer type: none flag (err=95): Operation not supported",
            )
            for call in (
                "pyxrt.bo(rig.device, 64, pyxrt.bo.normal, 0)",
                "pyxrt.bo(rig.context, 64, 0)",
            )
        ),
        (
            "rig.bo(0)",
            RuntimeError,
            "mmap_range(len=0) failed (err=-22): Invalid argument",
        ),
        (
            "pyxrt.bo(rig.bo(64), 60, 8)",
            RuntimeError,
            "sub buffer size and offset: Invalid argument",
        ),
        (
            "rig.bo(64).write(bytes(65), 0)",
            RuntimeError,
            "attempting to write past buffer size: Invalid argument",
        ),
        (
            "rig.bo(64).write(b'x', 64)",
            RuntimeError,
            "attempting to write past buffer size: Invalid argument",
        ),
        (
            "rig.bo(64).read(1, 64)",
            RuntimeError,
            "attempting to read past buffer size: Invalid argument",
        ),
        (
            "pyxrt.kernel(rig.context, 'sub')",
            RuntimeError,
            "No such kernel 'sub': Invalid argument",
        ),
        ("pyxrt.device(1)", RuntimeError, " No such device with index '1'"),
        ("pyxrt.device('1')", RuntimeError, " No such device with index '1'"),
        (
            "pyxrt.device('0000:00:00.0')",
            RuntimeError,
            "No such device '0000:00:00.0': Invalid argument",
        ),
        ("pyxrt.xclbin('none.xclbin')", RuntimeError, "No such file or directory 'none.xclbin'"),
        (
            "pyxrt.hw_context(rig.device, 'none.xclbin')",
            RuntimeError,
            "No such file or directory 'none.xclbin'",
        ),
        ("pyxrt.xclbin('/')", MemoryError, "std::bad_alloc"),
    ],
)
def test_errors(call: str, error: type[Exception], text: str) -> None:
    with pytest.raises(error) as raised:
        eval(call, {"pyxrt": pyxrt, "rig": Rig()})
    assert str(raised.value) == text


def test_ways_to_open_and_name_things() -> None:
    rig = Rig()
    found = pyxrt.xclbin("add.xclbin")
    assert pyxrt.device("0").get_info(pyxrt.xrt_info_device.bdf) == rig.device.get_info(
        pyxrt.xrt_info_device.bdf
    )
    assert (
        pyxrt.device(bdf=rig.device.get_info(pyxrt.xrt_info_device.bdf))
        .get_xclbin_uuid()
        .to_string()[:8]
        == "0" * 8
    )
    for made in (
        lambda: pyxrt.hw_context(rig.device, found),
        lambda: pyxrt.hw_context(rig.device, "add.xclbin", pyxrt.hw_context.exclusive),
        lambda: pyxrt.hw_context(
            device=rig.device, xclbin_path="add.xclbin", cfg_param={"priority": 1}
        ),
        lambda: pyxrt.hw_context(rig.device, uuid=rig.uuid, mode=pyxrt.hw_context.exclusive),
    ):
        context = made()
        assert context.get_xclbin_uuid().to_string() == rig.uuid.to_string()
        assert context.get_xclbin().get_kernels()[0].get_name() == "add"
    assert rig.context.get_mode() == pyxrt.hw_context.shared
    assert context.get_mode() == pyxrt.hw_context.exclusive
    del context
    context = pyxrt.hw_context(rig.device, found)
    assert pyxrt.kernel(hw_context=context, name="add").group_id(3) == 6 << 16, "the sixth context"
    assert pyxrt.bo(hwctx=context, size=64, flags=pyxrt.bo.host_only, group=0).size() == 64
    with pytest.raises(RuntimeError, match="none flag"):
        pyxrt.bo(hwctx=context, size=64, group=0)
    with pytest.raises(RuntimeError, match=f"No xclbin with uuid '{XID}': Invalid argument"):
        pyxrt.hw_context(rig.device, pyxrt.uuid(XID))


XID = "651c6d14-b727-15f3-c477-4f4af97bd475"


def test_older_ways_are_deprecated() -> None:
    """NPUs load an xclbin with a context only: xrtDeviceLoadXclbin fails for them."""
    rig = Rig()
    for given in ("add.xclbin", pyxrt.xclbin("add.xclbin")):
        with (
            pytest.warns(
                DeprecationWarning,
                match=r"^pyxrt.device.load_xclbin\(\) is deprecated; use pyxrt.hw_context",
            ),
            pytest.raises(RuntimeError) as raised,
        ):
            rig.device.load_xclbin(given)
        assert str(raised.value) == "xrtDeviceLoadXclbin failed in load_xclbin compatibility shim"
    assert rig.device.get_xclbin_uuid().to_string() == pyxrt.uuid("").to_string()
    with pytest.warns(
        DeprecationWarning, match=r"^kernel\(device, uuid, name\[, mode\]\) is deprecated"
    ):
        assert pyxrt.kernel(rig.device, rig.uuid, "add").group_id(0) & 0xFFFF == 65535


def test_only_the_first_open_takes_time() -> None:
    """amdxdna counts the users of the device; with the last one it is closed."""
    machine = Machine(Simulator(device_open_ns=1000), {})
    plug(machine)
    first, second = pyxrt.device(0), pyxrt.device(0)
    assert machine.clock.now_ns == 1000
    bo = pyxrt.bo(first, 64, pyxrt.bo.host_only, 0)
    opened_ns = machine.clock.now_ns
    del first, second
    third = pyxrt.device(0)
    assert machine.clock.now_ns == opened_ns, "the bo still uses the device"
    del third, bo
    pyxrt.device(0)
    assert machine.clock.now_ns == opened_ns + 1000


def test_every_property_is_a_text_or_an_error() -> None:
    rig = Rig()
    errors = {}
    for name, key in pyxrt.xrt_info_device.__members__.items():
        try:
            assert isinstance(rig.device.get_info(key), str)
        except RuntimeError as error:
            errors[name] = str(error)
    assert errors == {
        "interface_uuid": "No such query request (185)",
        "kdma": "bad any_cast",
        "max_clock_frequency_mhz": "No such query request (72)",
        "nodma": "No such query request (70)",
        "offline": "No such query request (180)",
    }


def test_seven_contexts() -> None:
    rig = Rig()
    contexts = [pyxrt.hw_context(rig.device, rig.uuid) for _ in range(5)]
    for _ in range(2):
        with pytest.raises(RuntimeError) as raised:
            pyxrt.hw_context(rig.device, rig.uuid)
        assert (
            str(raised.value)
            == "DRM_IOCTL_AMDXDNA_CREATE_HWCTX IOCTL failed (err=-22): Invalid argument"
        )
    contexts.pop()
    contexts.append(pyxrt.hw_context(rig.device, rig.uuid))


class Columns:
    """A device with kernels of several widths."""

    def __init__(self) -> None:
        names = ("one", 1), ("two", 2), ("three", 3), ("four", 4), ("five", 5)
        plug(
            Machine(
                Simulator(),
                {n: KernelModel(n, 100, argument_banks(2), columns=width) for n, width in names},
            )
        )
        self.machine = machines[0]
        self.device = pyxrt.device(0)

    def open(self, name: str) -> pyxrt.hw_context:
        return pyxrt.hw_context(self.device, name)

    def partitions(self) -> list[tuple[int, int, int]]:
        return [(each.start, each.columns, each.contexts) for each in self.machine.partitions]

    def refuses(self, name: str) -> None:
        with pytest.raises(RuntimeError) as raised:
            self.open(name)
        assert (
            str(raised.value)
            == "DRM_IOCTL_AMDXDNA_CREATE_HWCTX IOCTL failed (err=-19): No such device"
        )


def test_partitions_are_shared_only_by_contexts_of_the_same_width() -> None:
    device = Columns()
    device.refuses("five")
    kept = [device.open(name) for name in ("two", "one", "one")]
    assert device.partitions() == [(0, 2, 1), (2, 1, 1), (3, 1, 1)]
    device.refuses("three")
    device.refuses("four")
    kept += [device.open("two"), device.open("one")]
    assert device.partitions() == [(0, 2, 2), (2, 1, 2), (3, 1, 1)]
    del kept
    device.machine.contexts.clear()


def test_a_partition_lasts_as_long_as_its_contexts() -> None:
    device = Columns()
    whole = device.open("four")
    device.refuses("one")
    again = device.open("four")
    del whole
    device.refuses("one")
    del again
    assert device.open("one").get_xclbin().get_kernels()[0].get_name() == "one"


def test_instruction_memory_is_64_mib() -> None:
    rig = Rig()
    group = rig.kernel.group_id(1)
    with pytest.raises(RuntimeError) as raised:
        pyxrt.bo(rig.device, 64 << 20, pyxrt.bo.cacheable, group)
    assert (
        str(raised.value)
        == "DRM_IOCTL_AMDXDNA_CREATE_BO IOCTL failed (err=-28): No space left on device"
    )
    with pytest.raises(RuntimeError, match=r"CREATE_BO IOCTL failed \(err=-22\)"):
        pyxrt.bo(rig.device, 65 << 20, pyxrt.bo.cacheable, group)
    # Of 32 KiB each, beside a context and its instructions.
    small = [pyxrt.bo(rig.device, 4096, pyxrt.bo.cacheable, group) for _ in range(2043)]
    with pytest.raises(RuntimeError, match=r"\(err=-28\)"):
        pyxrt.bo(rig.device, 4096, pyxrt.bo.cacheable, group)
    small.clear()
    large = pyxrt.bo(rig.device, 63 << 20, pyxrt.bo.cacheable, group)
    rig.bo(2 << 20)
    with pytest.raises(RuntimeError, match=r"\(err=-28\)"):
        pyxrt.bo(rig.device, 2 << 20, pyxrt.bo.cacheable, group)
    del large
    pyxrt.bo(rig.device, 2 << 20, pyxrt.bo.cacheable, group)


def test_start_and_wait() -> None:
    rig = Rig(exec_ns={"add": 5_000_000})
    run = rig.run(rig.bo(256), rig.bo(128))
    assert run.state() == 1, "NEW before it was ever started"
    run.start()
    with pytest.raises(RuntimeError, match=r"^bad command state, can't launch$"):
        run.start()
    before = rig.machine.clock.now_ns
    with pytest.raises(RuntimeError, match=r"^qds_device::wait\(\) unexpected command state$"):
        run.wait(4)
    assert rig.machine.clock.now_ns - before == 4_000_000
    assert run.state() == STATE.ERT_CMD_STATE_NEW == 1
    assert run.wait() == STATE.ERT_CMD_STATE_COMPLETED == 4
    assert run.wait(1) == STATE.ERT_CMD_STATE_COMPLETED, "at once: it has ended"
    run.start()
    assert run.wait2() is None
    old = Rig(exec_ns={"add": 5_000_000}, timed_waits=True)
    run = old.run(old.bo(256), old.bo(128))
    run.start()
    assert run.wait(4) == STATE.ERT_CMD_STATE_TIMEOUT == 8, "XRT before May 2025"
    run.wait()


def test_a_run_that_was_never_started_cannot_be_waited_for() -> None:
    rig = Rig()
    run = rig.run(rig.bo(256), rig.bo(128))
    with pytest.raises(RuntimeError, match="unexpected command state"):
        run.wait(4)
    with pytest.raises(ProcessAborted, match=r"never started: wait\(\) would never return"):
        run.wait()


def test_the_first_wait_of_a_context_is_for_all_that_was_submitted() -> None:
    """Its number is 0, which the kernel's timeline takes for the newest command."""
    rig = Rig(exec_ns={"add": 1_000})
    runs = [rig.run(rig.bo(256), rig.bo(128)) for _ in range(4)]
    for first in (True, False):
        begin = rig.machine.clock.now_ns
        for run in runs:
            run.start()
        runs[0].wait()
        took_ns = rig.machine.clock.now_ns - begin
        assert took_ns == 20 + (4 if first else 1) * 1_000 + 7
        for run in runs:
            run.wait()


def test_the_fifth_start_blocks() -> None:
    rig = Rig(exec_ns={"add": 1_000})
    runs = [rig.run(rig.bo(256), rig.bo(128)) for _ in range(5)]
    begin = rig.machine.clock.now_ns
    for run in runs[:4]:
        run.start()
    assert rig.machine.clock.now_ns - begin == 4 * 20
    runs[4].start()
    assert rig.machine.clock.now_ns - begin == 20 + 1_000, "until the first has ended"
    for run in runs:
        assert run.wait() == STATE.ERT_CMD_STATE_COMPLETED


def test_a_call_of_a_kernel_leaves_out_arguments_that_it_cannot_set() -> None:
    rig = Rig(hazards=Hazards.off)
    operands, total = rig.bo(256), rig.bo(128)
    data = fill(operands)
    operands.sync(TO_DEVICE)
    run = rig.kernel(3, rig.instructions, 2**40, operands, total, 7, None, "x")
    assert run.wait() == STATE.ERT_CMD_STATE_COMPLETED
    total.sync(FROM_DEVICE)
    np.testing.assert_array_equal(np.frombuffer(total.map(), np.int8), data[:128] + data[128:])


def test_arguments_that_do_not_exist() -> None:
    rig = Rig()
    run = rig.run(rig.bo(256), rig.bo(128))
    for index, shown in ((5, 5), (-1, 2**64 - 1)):
        with pytest.raises(IndexError) as raised:
            run.set_arg(index, 1)
        assert str(raised.value) == (
            f"vector::_M_range_check: __n (which is {shown}) >= this->size() (which is 5)"
        )
    with pytest.raises(RuntimeError, match=r"^No host side buffer in destination buffer: "):
        run.set_arg(5, rig.instructions)


def test_a_bo_of_another_bank_is_refused() -> None:
    rig = Rig()
    run = rig.run(rig.bo(256), rig.bo(128))
    for index, value in ((1, rig.bo(16)), (3, rig.instructions), (0, rig.bo(16))):
        with pytest.raises(RuntimeError, match=r"^No host side buffer in destination buffer: "):
            run.set_arg(index, value)


def test_any_group() -> None:
    """Handles of contexts count from 1; beyond the arguments the bank is that of a scalar."""
    rig = Rig()
    groups = [rig.kernel.group_id(index) for index in (0, 1, 3, -1, 5, 1000)]
    assert groups == [131071, 65537, 65536, 131071, 131071, 131071]
    other = pyxrt.kernel(pyxrt.hw_context(rig.device, rig.uuid), "add")
    assert other.group_id(3) == 2 << 16


@pytest.mark.parametrize(
    "use",
    [
        *(
            "device().get_info(pyxrt.xrt_info_device.name)",
            "device().get_xclbin_uuid()",
            "bo(pyxrt.device(), 64, H, 0)",
        ),
        *(
            "hw_context().get_mode()",
            "hw_context(pyxrt.device(), 'add.xclbin')",
            "kernel(pyxrt.hw_context(), 'add')",
        ),
        *("run().start()", "run().state()", "run().wait()", "run().wait2()", "run().set_arg(0, 1)"),
        *(
            "run().get_ctrl_scratchpad_bo()",
            "runlist(pyxrt.hw_context())",
            "runlist().execute()",
            "runlist().wait()",
        ),
        *("bo(pyxrt.hw_context(), 64, 0)", "device().register_xclbin(pyxrt.xclbin('add.xclbin'))"),
    ],
)
def test_null_objects_end_the_process(use: str) -> None:
    Rig()
    with pytest.raises(ProcessAborted):
        eval(f"pyxrt.{use}", {"pyxrt": pyxrt, "H": pyxrt.bo.host_only})


def test_a_runlist_and_its_texts() -> None:
    rig = Rig()
    listed, run = pyxrt.runlist(hwctx=rig.context), rig.run(rig.bo(256), rig.bo(128))
    listed.execute()
    listed.wait()
    listed.add(run)
    with pytest.raises(
        RuntimeError,
        match=r"^Run object belongs to a runlist and cannot be explicitly started: "
        "Invalid argument$",
    ):
        run.start()
    listed.execute()
    with pytest.raises(
        RuntimeError,
        match=r"^runlist must be idle before submitting for execution, current state: ",
    ):
        listed.execute()
    with pytest.raises(
        RuntimeError,
        match=r"^runlist must be idle before adding run objects, current state: running: "
        "Invalid argument$",
    ):
        listed.add(run)
    assert listed.wait() is None
    assert run.state() == STATE.ERT_CMD_STATE_NEW, "its packet never changes"
    del listed
    run.start()
    assert run.wait() == STATE.ERT_CMD_STATE_COMPLETED, "its own again"


def test_a_run_in_several_lists() -> None:
    rig = Rig()
    one, other, run = (
        pyxrt.runlist(rig.context),
        pyxrt.runlist(rig.context),
        rig.run(rig.bo(256), rig.bo(128)),
    )
    for listed in (one, other, other):
        listed.add(run)
    begin = rig.machine.clock.now_ns
    for listed in (one, other):
        listed.execute()
        listed.wait()
    assert rig.machine.clock.now_ns - begin == 2 * (20 + 7) + 3 * 100 + 3
    del other
    with pytest.raises(RuntimeError, match="belongs to a runlist"):
        run.start()
    del one, listed
    run.start()
    run.wait()


def test_a_runlist_that_is_dropped_in_flight() -> None:
    """XRT does not notice it, nor that its runs are dropped: they stay in state NEW."""
    rig = Rig()
    listed, run = pyxrt.runlist(rig.context), rig.run(rig.bo(256), rig.bo(128))
    listed.add(run)
    listed.execute()
    del listed
    gc.collect()
    rig.machine.clock.now_ns += 1_000
    assert run.state() == STATE.ERT_CMD_STATE_NEW
    with pytest.raises(RuntimeError, match="unexpected command state"):
        run.wait(1)
    del run
    gc.collect()
    assert not rig.machine.aborted


def test_a_wait_for_a_run_of_a_list_never_returns() -> None:
    rig = Rig()
    listed, run = pyxrt.runlist(rig.context), rig.run(rig.bo(256), rig.bo(128))
    listed.add(run)
    listed.execute()
    listed.wait()
    with pytest.raises(ProcessAborted, match=r"stays NEW.*: wait\(\) would never return"):
        run.wait()


@pytest.mark.parametrize(
    ("members", "took_ns"), [(24, 20 + 100 + 23 * 103 + 7), (25, 20 + 100 + 23 * 103 + 100 + 7)]
)
def test_a_runlist_is_submitted_in_chunks_of_24(members: int, took_ns: int) -> None:
    rig = Rig()
    listed, pairs = pyxrt.runlist(rig.context), [(rig.bo(256), rig.bo(128)) for _ in range(members)]
    for pair in pairs:
        listed.add(rig.run(*pair))
    begin = rig.machine.clock.now_ns
    listed.execute()
    listed.wait()
    assert rig.machine.clock.now_ns - begin == took_ns, (
        "the first of each chunk is not charged a dispatch"
    )


@pytest.mark.parametrize(
    ("fault", "state"), [("error", "ERROR"), ("abort", "ABORT"), ("hang", "TIMEOUT")]
)
def test_a_failure_in_a_runlist(fault: str, state: str) -> None:
    rig = Rig(faults=Faults(**{fault: [2]}))
    listed, pairs = pyxrt.runlist(rig.context), [(rig.bo(256), rig.bo(128)) for _ in range(26)]
    runs = [rig.run(*pair) for pair in pairs]
    for run in runs:
        listed.add(run)
    listed.execute()
    with pytest.raises(
        RuntimeError, match=rf"^runlist failed execution \(ERT_CMD_STATE_{state}\)$"
    ):
        listed.wait()
    assert [str(run.state())[28:] for run in runs] == ["NEW", "NEW", state, *["ABORT"] * 23]
    assert rig.machine.sanitizer.take() == []
    listed.execute()
    listed.wait()
    (hazard, *_) = rig.machine.sanitizer.take()
    assert hazard.bo == "argument 0, spoilt by the failure of this run", (
        "the packet of the first run of the chain"
    )


def test_the_watchdog() -> None:
    rig = Rig(faults=Faults(hang=[0]))
    runs = [rig.run(rig.bo(256), rig.bo(128)) for _ in range(3)]
    begin = rig.machine.clock.now_ns
    for run in runs:
        run.start()
    with pytest.raises(RuntimeError, match="unexpected command state"):
        runs[0].wait(1_000)
    assert runs[0].state() == STATE.ERT_CMD_STATE_NEW, "only the wait has timed out"
    assert [run.wait() for run in runs] == [
        STATE.ERT_CMD_STATE_TIMEOUT,
        *[STATE.ERT_CMD_STATE_ABORT] * 2,
    ]
    assert rig.machine.clock.now_ns - begin == 20 + 2_000_000_000 + 7
    runs[1].start()
    assert runs[1].wait() == STATE.ERT_CMD_STATE_COMPLETED
    slow = Rig(exec_ns={"add": 3_000_000_000})
    run = slow.run(slow.bo(256), slow.bo(128))
    run.start()
    assert run.wait() == STATE.ERT_CMD_STATE_TIMEOUT, "not only what hangs for ever"
    with pytest.raises(
        RuntimeError, match=r"^Command failed to complete successfully \(ERT_CMD_STATE_TIMEOUT\)$"
    ):
        run.wait2()


@pytest.mark.parametrize(
    ("fault", "state"), [("error", STATE.ERT_CMD_STATE_ERROR), ("abort", STATE.ERT_CMD_STATE_ABORT)]
)
def test_an_execution_that_fails(fault: str, state: pyxrt.ert_cmd_state) -> None:
    rig = Rig(faults=Faults(**{fault: [1]}))
    run = rig.run(rig.bo(256), rig.bo(128))
    seen = []
    for _ in range(3):
        run.start()
        seen.append(run.wait())
    assert seen == [STATE.ERT_CMD_STATE_COMPLETED, state, STATE.ERT_CMD_STATE_COMPLETED]


def test_a_corrupt_output() -> None:
    rig = Rig(faults=Faults(corrupt=[1]))
    operands, total = rig.bo(256), rig.bo(128)
    data = fill(operands)
    operands.sync(TO_DEVICE)
    run, wrong = rig.run(operands, total), []
    for _ in range(3):
        run.start()
        assert run.wait() == STATE.ERT_CMD_STATE_COMPLETED
        total.sync(FROM_DEVICE)
        wrong.append(
            int(np.count_nonzero(np.frombuffer(total.map(), np.int8) != data[:128] + data[128:]))
        )
    assert wrong == [0, 1, 0]


def test_a_slow_execution() -> None:
    rig = Rig(faults=Faults(slow=[1], slow_factor=5))
    run = rig.run(rig.bo(256), rig.bo(128))
    for _ in range(3):
        run.start()
        run.wait()
    start, end = rig.machine.take_trace()[:, 3:].T
    assert (end - start).tolist() == [100, 500, 100]


def test_a_lost_device() -> None:
    rig = Rig(faults=Faults(lost=1))
    run = rig.run(rig.bo(256), rig.bo(128))
    run.start()
    assert run.wait() == STATE.ERT_CMD_STATE_COMPLETED
    run.start()
    assert run.wait() == STATE.ERT_CMD_STATE_ABORT
    for call, name in (
        (run.start, "EXEC_CMD"),
        (lambda: rig.bo(64), "CREATE_BO"),
        (lambda: pyxrt.hw_context(rig.device, rig.uuid), "CREATE_HWCTX"),
    ):
        with pytest.raises(RuntimeError) as raised:
            call()
        assert (
            str(raised.value) == f"DRM_IOCTL_AMDXDNA_{name} IOCTL failed (err=-19): No such device"
        )


def test_a_refused_context() -> None:
    rig = Rig(faults=Faults(refuse_context=[1]))
    with pytest.raises(
        RuntimeError, match=r"CREATE_HWCTX IOCTL failed \(err=-22\): Invalid argument"
    ):
        pyxrt.hw_context(rig.device, rig.uuid)
    assert pyxrt.hw_context(rig.device, rig.uuid).get_mode() == pyxrt.hw_context.shared


def executed_ns(**settings: Any) -> int:
    rig = Rig(**settings)
    run = rig.run(rig.bo(256), rig.bo(128))
    run.start()
    run.wait()
    start, end = rig.machine.take_trace()[0, 3:]
    return int(end - start)


def test_power_modes() -> None:
    clocks = {
        "calibrated_mhz": 800,
        "clock_mhz": {"powersaver": 400, "turbo": 1600},
        "exec_ns": {"add": 1000},
    }
    assert [
        executed_ns(**clocks, power_mode=mode) for mode in (PowerMode.powersaver, PowerMode.turbo)
    ] == [2000, 500]
    assert executed_ns(**clocks, power_mode=PowerMode.balanced) == 1000, (
        "no figure: the calibrated clock"
    )
    rig = Rig(power_mode=PowerMode.turbo)
    assert '"power_mode": "turbo"' in rig.device.get_info(pyxrt.xrt_info_device.platform)


def test_an_idle_device_is_suspended() -> None:
    took = {}
    for idle_ns in (10_000, 10_001):
        rig = Rig(resume_ns=400, idle_suspend_ns=10_000)
        run = rig.run(rig.bo(256), rig.bo(128))
        run.start()
        run.wait()
        begin = rig.machine.clock.now_ns = (
            rig.machine.clock.now_ns - 7 + idle_ns - 20
        )  # idle until it is launched again
        run.start()
        run.wait()
        took[idle_ns] = rig.machine.clock.now_ns - begin
    assert took == {10_000: 20 + 100 + 7, 10_001: 20 + 400 + 100 + 7}


def test_a_real_xclbin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As mlir-aie makes them. A kernel of no pattern takes time and says so once.

    A pattern makes it the kernel of that pattern.
    """
    machine = Machine(Simulator(unknown_exec_ns=7_000), {})
    plug(machine)
    for _ in range(2):
        found = pyxrt.xclbin(str(DATA / XCLBIN))
    assert machine.notes == [
        f"{DATA / XCLBIN}: matches no pattern of device.xclbins; each execution of its kernels "
        "takes 7 us (device.unknown_exec_ns) and does not change memory"
    ]
    assert [(kernel.get_name(), kernel.get_num_args()) for kernel in found.get_kernels()] == [
        ("MLIR_AIE", 8)
    ]
    assert found.get_uuid().to_string() == XID
    context = pyxrt.hw_context(pyxrt.device(0), found)
    kernel = pyxrt.kernel(context, "MLIR_AIE")
    assert [kernel.group_id(index) for index in range(8)] == [131071, 65537, 131071, *[65536] * 5]
    with pytest.raises(RuntimeError, match=r"^No such kernel 'add': Invalid argument$"):
        pyxrt.kernel(context, "add")
    run = pyxrt.run(kernel)
    for index in range(3, 8):
        run.set_arg(
            index, pyxrt.bo(pyxrt.device(0), 64, pyxrt.bo.host_only, kernel.group_id(index))
        )
    run.set_arg(1, pyxrt.bo(pyxrt.device(0), 64, pyxrt.bo.cacheable, kernel.group_id(1)))
    run.start()
    run.wait()
    (start, end) = machine.take_trace()[-1, 3:]
    assert end - start == 7_000


@pytest.mark.parametrize("xclbins", [{}, {"*aie.xclbin": "attention"}])
def test_numbers_for_bos_that_a_kernel_does_not_use(xclbins: dict[str, str]) -> None:
    """XRT copies them into the packet; mlir-aie's products of matrices pass them."""
    machine = Machine(Simulator(xclbins=xclbins, exec_ns={"attention": 9_000}), {})
    plug(machine)
    context = pyxrt.hw_context(pyxrt.device(0), pyxrt.xclbin(str(DATA / XCLBIN)))
    kernel = pyxrt.kernel(context, "MLIR_AIE")
    code = pyxrt.bo(pyxrt.device(0), 64, pyxrt.bo.cacheable, kernel.group_id(1))
    bos = [
        pyxrt.bo(pyxrt.device(0), 12288, pyxrt.bo.host_only, kernel.group_id(index))
        for index in (3, 4)
    ]
    run = pyxrt.run(kernel)
    for index, value in enumerate((3, code, 64, *bos, 0, 0, 0)):
        run.set_arg(index, value)
    run.start()
    run.wait()
    bos[1].sync(FROM_DEVICE)
    assert machine.sanitizer
    assert machine.sanitizer.take() == []


def test_a_real_xclbin_with_a_pattern() -> None:
    machine = Machine(
        Simulator(xclbins={"*aie.xclbin": "attention"}, exec_ns={"attention": 9_000}), {}
    )
    plug(machine)
    found = pyxrt.xclbin(str(DATA / XCLBIN))
    assert machine.notes == [f"{DATA / XCLBIN}: simulated as kernel attention (device.xclbins)"]
    machine.notes.clear()
    assert [(kernel.get_name(), kernel.get_num_args()) for kernel in found.get_kernels()] == [
        ("MLIR_AIE", 8)
    ]
    (image,) = found._models
    assert (image.exec_ns, image.spec.name if image.spec else None) == (9_000, "attention")
    for _ in range(2):
        missing = pyxrt.xclbin("nowhere/aie.xclbin")
    assert machine.notes == [
        "nowhere/aie.xclbin: no such file; simulated as kernel attention (device.xclbins)"
    ], "a file that is missing will do, but is told of once"
    assert missing.get_kernels()[0].get_num_args() == 8
    context = pyxrt.hw_context(pyxrt.device(0), missing)
    assert pyxrt.kernel(context, "any name").group_id(3) == 65536


@pytest.mark.parametrize(
    ("pattern", "is_meant"),
    [("*attention*", False), ("*/attention/*", True), ("b.x*", True), ("*b.xclbin", True)],
)
def test_the_name_of_a_folder_means_nothing(tmp_path: Path, pattern: str, is_meant: bool) -> None:
    folder = tmp_path / "attention"
    folder.mkdir()
    shutil.copyfile(DATA / XCLBIN, folder / "b.xclbin")
    exec_ns = {"attention": 9_000}
    plug(Machine(Simulator(xclbins={pattern: "attention"}, exec_ns=exec_ns), {}))
    (model,) = pyxrt.xclbin(str(folder / "b.xclbin"))._models
    assert (model.spec is not None) is is_meant


def test_any_file_stands_for_a_kernel(tmp_path: Path) -> None:
    machine = Machine(
        Simulator(xclbins={"*.xclbin": "attention"}, exec_ns={"attention": 9_000}), {}
    )
    plug(machine)
    for name, exec_ns in (("a.xclbin", 9_000), ("a.bin", 100_000)):
        (tmp_path / name).write_text("any file")
        context = pyxrt.hw_context(pyxrt.device(0), str(tmp_path / name))
        assert pyxrt.kernel(context, "MLIR_AIE")._model.exec_ns == exec_ns
    assert [line.split(": ")[0] for line in machine.notes] == [
        str(tmp_path / name) for name in ("a.xclbin", "a.bin")
    ]


def test_a_broken_xclbin_is_refused_even_where_a_pattern_names_it(tmp_path: Path) -> None:
    plug(Machine(Simulator(xclbins={"*.xclbin": "attention"}, exec_ns={"attention": 9_000}), {}))
    (tmp_path / "a.xclbin").write_bytes((DATA / XCLBIN).read_bytes()[:-1])
    with pytest.raises(RuntimeError, match=r"^xclbin: m_length does not match buffer size$"):
        pyxrt.xclbin(str(tmp_path / "a.xclbin"))
