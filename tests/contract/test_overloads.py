"""The simulator takes every overload that pyxrt's documentation lists, and nothing longer."""

from __future__ import annotations

import json
import operator
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from support.one_kernel import Rig

from harness.sim import pyxrt as simulated
from harness.sim.clock import ProcessAborted

LISTED: dict[str, list[str]] = json.loads(
    (Path(__file__).parents[1] / "data" / "pyxrt_2_25.json").read_text()
)["signatures"]
"""By callable: a heading, then its overloads as pyxrt's errors list them (test_gathered.py)."""
FROM_C_ONLY = re.compile(r"std::|CapsuleType|xrt::elf|axlf")
"""Types that nothing in Python, or nothing that the simulator has, is converted to."""
NUMBERED = re.compile(r"arg\d+")
Overload = tuple[tuple[str, str], ...]


def split(parameters: str) -> Overload:
    """(name, type) of each parameter of a signature, without self."""
    found = [part.partition(": ") for part in re.split(r", (?![^\[]*\])", parameters) if part]
    return tuple((name, kind) for name, _, kind in found if name != "self")


def listed(path: str) -> list[Overload]:
    """The overloads of LISTED: `1. pyxrt.bo(arg0: ...)` or `1. (self: pyxrt.bo, ...) -> int`."""
    matches = [
        re.search(r"^    \d+\. [\w.]*\((.*?)\)(?: -> .*)?$", line) for line in LISTED[path][1:]
    ]
    return [split(match[1]) for match in matches if match]


def documented(pyxrt: ModuleType, path: str) -> list[Overload]:
    """The overloads of a docstring, one on a line: `name(...) -> ...` or `1. name(...) -> ...`."""
    text = operator.attrgetter(path)(pyxrt).__doc__.replace(
        "typing.SupportsInt | typing.SupportsIndex", "int"
    )
    name = path.rpartition(".")[2]
    found = re.findall(rf"^(\d+\. )?{name}\((.*)\) -> .*$", text, re.MULTILINE)
    return [split(parameters) for number, parameters in found if number or len(found) == 1]


def test_documentation() -> None:
    real = pytest.importorskip(
        "pyxrt", reason="pyxrt is not installed here; `make test-xrt` has it"
    )
    assert {path: documented(real, path) for path in LISTED} == {
        path: listed(path) for path in LISTED
    }


def arguments(rig: Rig) -> dict[str, Any]:
    """By type, something that the simulator takes for it."""
    bo = rig.bo(64)
    return {
        **dict.fromkeys(("pyxrt.device", "xrt::device"), rig.device),
        **dict.fromkeys(("pyxrt.xclbin", "xrt::xclbin"), simulated.xclbin("add.xclbin")),
        **dict.fromkeys(("pyxrt.bo", "xrt::bo"), bo),
        **dict.fromkeys(("pyxrt.kernel", "xrt::kernel"), rig.kernel),
        "pyxrt.run": simulated.run(rig.kernel),
        "pyxrt.runlist": simulated.runlist(rig.context),
        "pyxrt.hw_context": rig.context,
        "pyxrt.uuid": rig.uuid,
        "pyxrt.bo.flags": simulated.bo.host_only,
        "pyxrt.hw_context.access_mode": simulated.hw_context.shared,
        "pyxrt.kernel.cu_access_mode": simulated.kernel.shared,
        "pyxrt.xclBOSyncDirection": simulated.xclBOSyncDirection.XCL_BO_SYNC_BO_TO_DEVICE,
        "pyxrt.xrt_info_device": simulated.xrt_info_device.name,
        "pyxrt.xrt_msg_level": simulated.info,
        "collections.abc.Mapping[str, int]": {},
        "collections.abc.Buffer": b"",
        "str": "add.xclbin",
        "int": 0,
    }


def refusal(function: Any, *given: Any, **named: Any) -> str:
    """The text of the TypeError that a call raises; empty if the call takes the arguments."""
    try:
        function(*given, **named)
    except TypeError as error:
        return str(error)
    # A wait for a run that was never started would not return.
    except (RuntimeError, ProcessAborted):
        pass
    return ""


def overloads() -> list[Any]:
    return [
        pytest.param(
            path, overload, id=f"{path}({', '.join(f'{name}:{kind}' for name, kind in overload)})"
        )
        for path in LISTED
        for overload in listed(path)
        if not any(FROM_C_ONLY.search(kind) for _, kind in overload)
        # nothing but a configuration: a context of ELF files, of which the simulator has none
        and [name for name, _ in overload] != ["device", "cfg_param", "mode"]
    ]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(("path", "overload"), overloads())
def test_each_is_simulated(path: str, overload: Overload) -> None:
    rig = Rig()
    known = arguments(rig)
    owner, _, name = path.rpartition(".")
    if name == "__init__":
        function = operator.attrgetter(owner)(simulated)
    else:
        function = getattr(known[f"pyxrt.{owner}"] if owner else simulated, name)
    names = [name for name, _ in overload]
    given = [known[kind] for name, kind in overload if not name.startswith("*")]
    assert not refusal(function, *given)
    if names != ["*args"]:
        assert refusal(function, *given, object())
        if not any(map(NUMBERED.match, names)):
            assert not refusal(function, **dict(zip(names, given, strict=True)))
        for number in range(len(given)):
            assert refusal(function, *given[:number], object(), *given[number + 1 :]), names[number]
