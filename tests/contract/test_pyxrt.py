"""What the session, and scripts like it, rely on of pyxrt, as far as no device is needed."""

from __future__ import annotations

import ast
import copy
import pickle
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

PACKAGE = Path(__file__).parents[2] / "harness"
NO_DEVICE = " No such device with index '0'"


def used_by_the_harness() -> set[str]:
    """Dotted names below `pyxrt` or `backend.pyxrt` in the files that drive a device."""
    found = set()
    for path in PACKAGE.glob("device/**/*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute):
                chain = re.fullmatch(
                    r"(?:self\.)?(?:\w*backend\.)?pyxrt\.([\w.]+)", ast.unparse(node)
                )
                if chain:
                    found.add(chain[1])
    return found


def test_every_name_that_the_harness_uses(pyxrt: ModuleType) -> None:
    used = used_by_the_harness()
    assert {
        "device",
        "xclbin",
        "hw_context",
        "kernel",
        "bo",
        "run",
        "runlist",
        "bo.host_only",
    } <= used
    for path in used:
        owner: Any = pyxrt
        for part in path.split("."):
            assert hasattr(owner, part), path
            owner = getattr(owner, part)


@pytest.mark.parametrize(
    ("owner", "methods"),
    [
        ("device", "get_info get_xclbin_uuid load_xclbin register_xclbin"),
        ("xclbin", "get_kernels get_mems get_uuid get_xsa_name"),
        ("hw_context", "get_device get_mode get_xclbin get_xclbin_uuid"),
        ("kernel", "__call__ group_id"),
        ("bo", "address map read size sync write"),
        ("run", "add_callback get_ctrl_scratchpad_bo set_arg start state wait wait2"),
        ("runlist", "add execute wait"),
        ("uuid", "to_string"),
    ],
)
def test_methods(pyxrt: ModuleType, owner: str, methods: str) -> None:
    kind = getattr(pyxrt, owner)
    for method in methods.split():
        assert callable(getattr(kind, method))
    assert (kind.__module__, kind.__name__) == ("pyxrt", owner)


@pytest.mark.parametrize(
    ("enumeration", "members", "equals"),
    [
        (
            "ert_cmd_state",
            {
                **{
                    "NEW": 1,
                    "QUEUED": 2,
                    "COMPLETED": 4,
                    "ERROR": 5,
                    "ABORT": 6,
                    "SUBMITTED": 7,
                    "TIMEOUT": 8,
                },
                **{"NORESPONSE": 9, "SKERROR": 10, "SKCRASHED": 11},
            },
            True,
        ),
        (
            "xclBOSyncDirection",
            {"TO_DEVICE": 0, "FROM_DEVICE": 1, "GMIO_TO_AIE": 2, "AIE_TO_GMIO": 3},
            True,
        ),
        (
            "bo.flags",
            {
                "normal": 0,
                "cacheable": 1 << 24,
                "svm": 1 << 27,
                "device_only": 1 << 28,
                "host_only": 1 << 29,
                "p2p": 1 << 30,
            },
            False,
        ),
        ("hw_context.access_mode", {"exclusive": 0, "shared": 1}, False),
    ],
)
def test_enumerations(
    pyxrt: ModuleType, enumeration: str, members: dict[str, int], equals: bool
) -> None:
    kind: Any = pyxrt
    for part in enumeration.split("."):
        kind = getattr(kind, part)
    prefix = {"ert_cmd_state": "ERT_CMD_STATE_", "xclBOSyncDirection": "XCL_BO_SYNC_BO_"}.get(
        enumeration, ""
    )
    assert {name: int(member) for name, member in kind.__members__.items()} == {
        prefix + name: number for name, number in members.items()
    }
    for name, number in members.items():
        member = getattr(kind, prefix + name)
        assert (member == number, number == member, hash(member)) == (equals, equals, number)
        assert (member.name, member.value, str(member)) == (
            prefix + name,
            number,
            f"{kind.__name__}.{prefix}{name}",
        )
        assert repr(member) == f"<{kind.__name__}.{prefix}{name}: {number}>"
        assert member == kind(number) == copy.copy(member) == pickle.loads(pickle.dumps(member))
        assert not isinstance(member, int)
        assert (
            list(range(number + 1))[member] == number
            if number < 100
            else member.__index__() == number
        )
    assert str(kind(99)) == f"{kind.__name__}.???"
    for value in (-1, 1.5, "1", None, 2**32):
        with pytest.raises(TypeError, match="incompatible constructor arguments"):
            kind(value)
    with pytest.raises(TypeError, match="not iterable"):
        list(kind)


def test_a_state_that_has_no_name(pyxrt: ModuleType) -> None:
    """RUNNING is not bound, but its number has a member: the session's set of numbers finds it."""
    running = pyxrt.ert_cmd_state(3)
    assert (str(running), int(running), running == 3) == ("ert_cmd_state.???", 3, True)
    assert running in {3}
    assert running not in (pyxrt.ert_cmd_state.ERT_CMD_STATE_COMPLETED,)
    assert pyxrt.ert_cmd_state.ERT_CMD_STATE_COMPLETED in (
        pyxrt.ert_cmd_state.ERT_CMD_STATE_COMPLETED,
    )


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        ("device(0)", RuntimeError, NO_DEVICE),
        ("device(index=0)", RuntimeError, NO_DEVICE),
        ("device('0')", RuntimeError, NO_DEVICE),
        ("device(np.int64(0))", RuntimeError, NO_DEVICE),
        ("device(True)", RuntimeError, " No such device with index '1'"),
        ("device('0000:c5:00.1')", RuntimeError, "No such device '0000:c5:00.1': Invalid argument"),
        ("device(bdf='c5')", RuntimeError, "No such device 'c5': Invalid argument"),
        ("device('')", ValueError, "stoul"),
        (
            "hw_context(device(), 'none.xclbin')",
            RuntimeError,
            "No such file or directory 'none.xclbin'",
        ),
        (
            "runlist().add(run())",
            RuntimeError,
            "cannot add run object to uninitialized runlist: Invalid argument",
        ),
    ],
)
def test_without_a_device(
    deviceless: ModuleType, call: str, error: type[Exception], text: str
) -> None:
    assert deviceless.enumerate_devices() == 0
    with pytest.raises(error) as raised:
        eval(
            call,
            {
                **{
                    name: getattr(deviceless, name)
                    for name in ("device", "hw_context", "run", "runlist")
                },
                "np": np,
            },
        )
    assert str(raised.value) == text


@pytest.mark.parametrize(
    "call",
    [
        *(
            "device(-1)",
            "device(1.0)",
            "device(None)",
            "device(0, 1)",
            "device(number=0)",
            "device().register_xclbin('x')",
        ),
        *(
            "device().get_info('name')",
            "device().get_info()",
            "xclbin(1)",
            "xclbin(path='x')",
            "xclbin('a', 'b')",
        ),
        *(
            "xclbin(None)",
            "hw_context(device())",
            "hw_context(device(), 1)",
            "hw_context(device(), xclbin(), 0)",
        ),
        *(
            "hw_context(device(), xclbin='x')",
            "kernel()",
            "kernel('x')",
            "kernel(hw_context())",
            "kernel(hw_context(), 1)",
        ),
        *(
            "kernel(context=hw_context(), name='x')",
            "bo()",
            "bo(device(), 64)",
            "bo(device(), 64, 0, 0)",
        ),
        *(
            "bo(device(), 64, bo.host_only)",
            "bo(device(), -1, bo.host_only, 0)",
            "bo(device(), 64.0, bo.host_only, 0)",
        ),
        *(
            "bo(device(), 64, bo.host_only, -1)",
            "run(1)",
            "run(hw_context())",
            "run().set_arg(0)",
            "run().set_arg('0', 1)",
        ),
        *(
            "run().set_arg(0, None)",
            "run().set_arg(0, 2**31)",
            "run().set_arg(0, 1.5)",
            "run().wait(-1)",
        ),
        *(
            "run().wait(2**32)",
            "run().wait(1.5)",
            "run().wait(None)",
            "run().wait2(1)",
            "run().start(1)",
        ),
        *(
            "runlist(1)",
            "runlist(device())",
            "runlist().add(1)",
            "runlist().wait(1)",
            "runlist(context=hw_context())",
        ),
    ],
)
def test_what_no_overload_takes(deviceless: ModuleType, call: str) -> None:
    with pytest.raises(TypeError) as raised:
        eval(call, dict(vars(deviceless)))
    assert re.search(
        r"\(\): incompatible (constructor|function) arguments"
        r"|positional argument|unexpected keyword",
        str(raised.value),
    )


def test_uuids(pyxrt: ModuleType) -> None:
    text = "651c6d14-b727-15f3-c477-4f4af97bd475"
    assert pyxrt.uuid(text).to_string() == pyxrt.uuid(text.upper()).to_string() == text
    assert pyxrt.uuid("").to_string() == "00000000-0000-0000-0000-000000000000"
    for wrong in (1, None, []):
        with pytest.raises((TypeError, RuntimeError)):
            pyxrt.uuid(wrong)


def test_objects_are_closed(pyxrt: ModuleType) -> None:
    for each in (pyxrt.run(), pyxrt.xclbin(), pyxrt.uuid("")):
        with pytest.raises(AttributeError):
            each.note = 1
        with pytest.raises(TypeError, match="cannot pickle"):
            copy.copy(each)
