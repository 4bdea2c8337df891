"""What the harness reads of the machine (xrt-smi, pyxrt, sysfs), and what counts as a change."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.npu_machine import BDF, Smi, context, expire_when, files, report
from support.process import wait_for

from harness.device.host import smi, state, sysfs
from harness.device.host.state import MachineState, changes, read_state

FULL = MachineState(
    power_mode="performance",
    clocks_mhz={"MP-NPU Clock": 847, "H Clock": 1600},
    firmware="1.5.5.391",
    driver="0.1",
    xrt="2.25.0",
    tenants=["pid 12 (python3)"],
    governor="performance",
    kernel="6.18.0",
)


@pytest.fixture(autouse=True)
def empty_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No NPU and no xrt-smi, unless a test gives one."""
    (tmp_path / "root").mkdir()
    monkeypatch.setattr(sysfs, "ROOT", tmp_path / "root")
    monkeypatch.setattr(smi, "USUAL", tmp_path / "none")
    monkeypatch.setenv("PATH", "/usr/bin:/bin")


@pytest.fixture
def plug(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Smi]:
    def make(content: Any = None, **parts: str) -> Smi:
        made = Smi(tmp_path / "smi", content, **parts)
        monkeypatch.setenv("PATH", f"{made.folder}:/usr/bin:/bin")
        return made

    return make


def handle(**told: Any) -> tuple[Any, Any]:
    """pyxrt and a device of it whose `get_info` tells `told` and raises for the rest."""

    def get_info(kind: str) -> str:
        if kind not in told:
            raise RuntimeError("No such query request")
        return told[kind] if isinstance(told[kind], str) else json.dumps(told[kind])

    kinds = SimpleNamespace(bdf="bdf", platform="platform", host="host")
    return SimpleNamespace(xrt_info_device=kinds), SimpleNamespace(get_info=get_info)


def test_nothing_is_there() -> None:
    assert read_state(0) == MachineState(kernel=platform.release())


def test_a_whole_machine(plug: Callable[..., Smi]) -> None:
    files(sysfs.ROOT)
    made = plug(
        report(
            "Performance", [context(os.getpid(), "python"), context(4711, "whisper"), context(4711)]
        )
    )
    assert read_state(0) == MachineState(
        power_mode="performance",
        clocks_mhz={"MP-NPU Clock": 847, "H Clock": 1600},
        firmware="1.5.5.391",
        driver="0.1",
        xrt="2.25.0",
        tenants=["pid 4711 (unknown)"],
        governor="performance",
        kernel=platform.release(),
    )
    (call,) = made.calls
    assert call.startswith(
        f"examine -d {BDF} --advanced -r platform host aie-partitions clocks -f JSON -o "
    )


def test_xrt_smi_alone(plug: Callable[..., Smi]) -> None:
    made = plug()
    (
        made.folder / "no-advanced"
    ).touch()  # as before 2025: then the platform report may have the clocks
    content = report()
    content["devices"][0]["platforms"][0]["clocks"] = {
        "clocks": content["devices"][0].pop("clocks")
    }
    made.answer(content)
    found = read_state(0)
    assert found.power_mode == "default"
    assert found.clocks_mhz == {"MP-NPU Clock": 847, "H Clock": 1600}
    assert (found.firmware, found.driver, found.xrt) == ("1.5.5.391", "2.25.0_20260821", "2.25.0")
    assert found.tenants == [], "an empty list is written as an empty text"
    assert [("--advanced" in call) for call in made.calls] == [True, False]


def test_the_handle_is_asked_first(plug: Callable[..., Smi]) -> None:
    made = plug(report("Turbo"))
    own = report("Balanced", clocks=[{"id": "H Clock", "freq_mhz": "1024"}])["devices"][0]
    own["platforms"][0]["clocks"] = own["clocks"]
    host = {"version": "2.26.0", "drivers": [{"name": "amdxdna", "version": "2.26.0_20261101"}]}
    pyxrt, device = handle(bdf="0000:c4:00.1", platform={"platforms": own["platforms"]}, host=host)
    found = read_state(0, pyxrt, device)
    assert (found.power_mode, found.clocks_mhz) == ("balanced", {"H Clock": 1024})
    assert (found.xrt, found.driver) == ("2.26.0", "2.26.0_20261101")
    assert "-d 0000:c4:00.1" in made.calls[0]


def test_a_handle_that_knows_nothing(plug: Callable[..., Smi]) -> None:
    plug(report("Turbo"))
    assert read_state(0, *handle(platform="{", host="[[")).power_mode == "turbo"
    assert read_state(0, object(), object()).power_mode == "turbo"


def test_another_device_is_not_taken_for_it(plug: Callable[..., Smi]) -> None:
    content = report("Turbo")
    content["devices"] = [
        {**content["devices"][0], "device_id": "0000:01:00.1"},
        {"device_id": "0000:02:00.1"},
    ]
    plug(content)
    assert read_state(0).power_mode is None


@pytest.mark.parametrize("mode", ["N/A", "not supported", "", None, ["Turbo"]])
def test_no_power_mode(plug: Callable[..., Smi], mode: Any) -> None:
    content = report()
    content["devices"][0]["platforms"][0]["status"]["power_mode"] = mode
    plug(content)
    assert read_state(0).power_mode is None


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "[1]", "null", "[" * 100_000, '{"devices": {"a": 1}}', "\x00\xff"]
)
def test_garbage(plug: Callable[..., Smi], content: str) -> None:
    made = plug(content)
    assert read_state(0) == MachineState(kernel=platform.release())
    assert len(made.calls) <= 2
    assert isinstance(smi.examine() or {}, dict)


@pytest.mark.parametrize("number", ["inf", "nan", "1e999", "N/A", "", None, [], {}])
def test_no_number(plug: Callable[..., Smi], number: Any) -> None:
    plug(report(contexts=[{"pid": number}], clocks=[{"id": "H Clock", "freq_mhz": number}]))
    found = read_state(0)
    assert (found.clocks_mhz, found.tenants) == (None, [])


@pytest.mark.parametrize("before", ["exit 1", "kill -9 $$", "rm -f $output; exit 0"])
def test_a_tool_that_fails(plug: Callable[..., Smi], before: str) -> None:
    plug(before=before)
    assert read_state(0) == MachineState(kernel=platform.release())


def test_a_report_of_a_failed_call_is_not_believed(plug: Callable[..., Smi]) -> None:
    plug(before="trap 'exit 1' EXIT")
    assert smi.examine() is None


def test_a_tool_that_cannot_be_started(plug: Callable[..., Smi]) -> None:
    plug().path.write_text("#!/nowhere/sh\n")
    assert smi.examine() is None
    with pytest.raises(smi.SmiError):
        smi.set_power_mode("turbo")


def test_a_tool_that_hangs_is_ended_with_what_it_started(
    plug: Callable[..., Smi], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = plug(
        before="sleep 600 & echo $! > {0}/new; mv {0}/new {0}/child; wait".format("$(dirname $0)")
    )
    expire_when(monkeypatch, (made.folder / "child").exists)
    assert smi.examine() is None
    assert len(made.calls) == 1, "it would hang a second time"
    child = Path("/proc") / (made.folder / "child").read_text().strip()
    wait_for(lambda: not child.exists() or "\nState:\tZ" in (child / "status").read_text())


def test_where_xrt_smi_is_found(plug: Callable[..., Smi], monkeypatch: pytest.MonkeyPatch) -> None:
    made = plug()
    assert smi.find() == str(made.path)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    assert smi.find() is None
    monkeypatch.setattr(smi, "USUAL", made.path)
    assert smi.find() == str(made.path)


def test_what_xrt_smi_says_of_a_refusal(plug: Callable[..., Smi]) -> None:
    plug(configure="echo 'COMMAND: configure'; echo 'ERROR: Invalid argument' >&2; exit 1")
    with pytest.raises(smi.SmiError, match=r"^Invalid argument$"):
        smi.set_power_mode("turbo", BDF)
    plug(configure="echo 'ERROR: no'")
    with pytest.raises(smi.SmiError, match=r"^no$"):
        smi.set_power_mode("turbo", BDF)
    plug(
        configure="printf 'Unrecognized arguments:\\n  --pmode\\n  turbo\\n' >&2; exit 1"
    )  # XRT 2.25 without a device
    with pytest.raises(smi.SmiError, match=r"^Unrecognized arguments: --pmode turbo$"):
        smi.set_power_mode("turbo")
    plug(configure="exit 3")
    with pytest.raises(smi.SmiError, match="exit code 3 and no message"):
        smi.set_power_mode("turbo", BDF)


ODD = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


def damaged(tree: Any, path: list[int], leaf: Any) -> Any:
    """The report with one place in it replaced."""
    if not path or not isinstance(tree, list | dict) or not tree:
        return leaf
    if isinstance(tree, list):
        place = path[0] % len(tree)
        return [
            damaged(each, path[1:], leaf) if at == place else each for at, each in enumerate(tree)
        ]
    key = sorted(tree)[path[0] % len(tree)]
    return {**tree, key: damaged(tree[key], path[1:], leaf)}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(path=st.lists(st.integers(0, 9), max_size=7), leaf=ODD, host=ODD)
def test_odd_json_never_raises(
    monkeypatch: pytest.MonkeyPatch, path: list[int], leaf: Any, host: Any
) -> None:
    content = damaged(report("Turbo", [context(4711, "whisper")]), path, leaf)
    monkeypatch.setattr(smi, "examine", lambda address: content)
    found = read_state(0, *handle(platform=content, host=host))
    assert found.power_mode is None or found.power_mode.strip()
    assert all(isinstance(mhz, int) for mhz in (found.clocks_mhz or {}).values())
    assert all(each.startswith("pid ") for each in found.tenants or [])
    assert changes(found, found) == []


def test_no_change() -> None:
    assert changes(FULL, FULL) == []
    assert changes(FULL, replace(FULL, kernel="6.19.0", xrt="2.26.0")) == [], (
        "they cannot change under a process"
    )


@pytest.mark.parametrize(
    "field", ["power_mode", "clocks_mhz", "firmware", "driver", "tenants", "governor"]
)
def test_what_cannot_be_read_has_not_changed(field: str) -> None:
    blind = replace(FULL, **{field: None})
    assert changes(FULL, blind) == changes(blind, FULL) == []


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("power_mode", "default", "power mode: performance -> default"),
        ("firmware", "1.5.6.0", "firmware: 1.5.5.391 -> 1.5.6.0"),
        ("driver", "0.2", "driver: 0.1 -> 0.2"),
        ("governor", "powersave", "governor: performance -> powersave"),
        ("tenants", [], "tenants: pid 12 (python3) -> none"),
        (
            "tenants",
            ["pid 9 (a)", "pid 12 (python3)"],
            "tenants: pid 12 (python3) -> pid 12 (python3), pid 9 (a)",
        ),
        ("clocks_mhz", {"MP-NPU Clock": 400, "H Clock": 1600}, "MP-NPU Clock: 847 -> 400 MHz"),
        ("clocks_mhz", {"MP-NPU Clock": 720, "H Clock": 1309}, "H Clock: 1600 -> 1309 MHz"),
    ],
)
def test_a_change(field: str, value: Any, told: str) -> None:
    assert told in changes(FULL, replace(FULL, **{field: value}))


def test_noise_of_clocks() -> None:
    for clocks in (
        {"MP-NPU Clock": 845, "H Clock": 1599},
        {"MP-NPU Clock": 0, "H Clock": 0},
        {"Other": 5},
        {},
    ):
        assert changes(FULL, replace(FULL, clocks_mhz=clocks)) == []
        assert changes(replace(FULL, clocks_mhz=clocks), FULL) == []


def test_every_change_of_the_clock_level_is_reported() -> None:
    """Levels of npu1: xdna-driver, npu1_regs.c."""
    levels = [(400, 800), (600, 1024), (720, 1309), (847, 1600)]
    for old in levels:
        for new in levels:
            both = [
                replace(FULL, clocks_mhz=dict(zip("ab", each, strict=True))) for each in (old, new)
            ]
            assert len(changes(*both)) == (0 if old == new else 2)


def test_files_of_the_kernel(tmp_path: Path) -> None:
    files(sysfs.ROOT, governor="schedutil")
    (sysfs.ROOT / "sys/devices/system/cpu/cpufreq/policy1/scaling_governor").write_text(
        "powersave\n"
    )
    assert sysfs.governors() == "powersave, schedutil"
    assert (sysfs.bdf(0), sysfs.bdf(1)) == (BDF, None)
    assert sysfs.node(BDF) == sysfs.ROOT / "dev/accel/accel0"
    assert sysfs.of_device(BDF, "power/control") == "auto"
    assert sysfs.of_device(BDF, "power") is None
    assert sysfs.of_device(None, "power/control") is None
    assert sysfs.driver_version() == "0.1"
    assert sysfs.on_bus() == {BDF: "Phoenix or Hawk Point"}
    assert state.UNKNOWN
