"""The checklist: on a machine with everything, with nothing, and with one thing wrong at a time."""

from __future__ import annotations

import http.server
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.npu_machine import BDF, Smi, context, expire_when, files, report

from harness.commands.doctor import command as doctor
from harness.commands.doctor import machine, probe, project, software
from harness.commands.doctor.check import Check, Status, Subject, checked, ok
from harness.commands.doctor.probe import Probe
from harness.commands.main import dispatch
from harness.config import compose as configuration
from harness.config.device import Hardware
from harness.device.host import locks, smi, sysfs
from harness.device.host.state import MachineState
from harness.kernel import kernel_names

ROOT = Path(__file__).parents[2]
XCLBIN = Path(__file__).parents[1] / "data" / "mlir_aie.xclbin"
OWN = ".".join(platform.python_version_tuple()[:2])
PYXRT = """
import json, os, sys, time
class xrt_info_device: name, host, platform = "name", "host", "platform"
class device:
    def __init__(self, index):
        {opening}
        if index: raise RuntimeError("No such device with index '%d'" % index)
    def get_info(self, kind):
        if kind == "platform": raise RuntimeError("No such query request")
        return {{"name": "RyzenAI-npu1", "host": json.dumps({{"version": "2.25.0"}})}}[kind]
class xclbin: pass
hw_context = kernel = bo = run = ert_cmd_state = xclBOSyncDirection = {runlist} = xclbin
"""
WHOLE = MachineState(
    "performance", {"H Clock": 1600}, "1.5.5.391", "0.1", "2.25.0", [], "performance", "6.18.0"
)


KERNELS = kernel_names()
TOTAL = len(doctor.CHECKS) + len(KERNELS)


@pytest.fixture(autouse=True)
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without an NPU, XRT or a lock; work happens in a folder of its own."""
    for name in ("root", "locks", "work"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(sysfs, "ROOT", tmp_path / "root")
    monkeypatch.setattr(locks, "FOLDER", tmp_path / "locks")
    monkeypatch.setattr(smi, "USUAL", tmp_path / "none")
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.delenv("XILINX_XRT", raising=False)
    monkeypatch.chdir(tmp_path / "work")


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Have the probe import a pyxrt of ours."""

    def make(text: str = "", *, opening: str = "pass", runlist: str = "runlist") -> None:
        folder = tmp_path / "python"
        folder.mkdir(exist_ok=True)
        (folder / "pyxrt.py").write_text(text or PYXRT.format(opening=opening, runlist=runlist))
        monkeypatch.setenv("PYTHONPATH", str(folder))

    return make


@pytest.fixture
def whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stand_in: Callable[..., None]) -> Smi:
    """Everything that a run on an NPU needs."""
    files(sysfs.ROOT)
    stand_in()
    made = Smi(tmp_path / "smi")
    made.mode = "Performance"
    monkeypatch.setenv("PATH", f"{made.folder}:/usr/bin:/bin")
    compiler = made.folder / "c++"
    compiler.write_text("#!/bin/sh\necho 'c++ 12.2.0 of a test'\n")
    compiler.chmod(0o755)
    monkeypatch.setattr(
        resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    )
    build = Path("kernels/build")
    build.mkdir(parents=True)
    for name in KERNELS:
        shutil.copy(XCLBIN, build / f"{name}.xclbin")
        (build / f"{name}.insts.bin").write_bytes(bytes([3, 0, 0, 0] * 5))
    return made


def subject(*overrides: str, **changed: Any) -> Subject:
    """What checks look at on a machine with everything, but for `changed`."""
    config = configuration.load("device=hardware", "tracking=off", *overrides)
    assert isinstance(config.device, Hardware)
    opened = Probe(path="pyxrt.so", runlists=True, opened=True, name="RyzenAI-npu1")
    return replace(Subject(config, config.device, BDF, opened, WHOLE, None), **changed)


def told(check: Check) -> tuple[str, str]:
    return check.status.value, f"{check.finding}; {check.remedy}"


def run(capsys: pytest.CaptureFixture[str], *overrides: str) -> tuple[int, dict[str, str], str]:
    """Exit code, status by name, and the whole output."""
    code = doctor.run(overrides)
    out, err = capsys.readouterr()
    assert err == ""
    names = [*doctor.CHECKS, *(f"kernel {name}" for name in KERNELS)]
    found = {
        name: line[:4].strip()
        for line in out.splitlines()
        for name in names
        if line[6:].startswith(f"{name}  ")
    }
    return code, found, out


def test_a_machine_with_everything(whole: Smi, capsys: pytest.CaptureFixture[str]) -> None:
    code, found, out = run(capsys)
    assert (code, set(found.values()), len(found)) == (0, {"ok"}, TOTAL), out
    assert out.splitlines()[-1] == f"hardware runs can work here: none of {TOTAL} checks failed"
    assert (
        "MLIR_AIE, 8 arguments of which 5 are used, 4 column(s) wide; 20 bytes of instructions"
        in out
    )
    assert "amdxdna 0.1 at 0000:c5:00.1, firmware 1.5.5.391" in out
    assert "pyxrt opens device 0, RyzenAI-npu1" in out
    assert "performance (MP-NPU Clock 847 MHz, H Clock 1600 MHz)" in out
    assert "after 5000 ms idle" in out
    assert "c++ 12.2.0 of a test, for device=cpu" in out


@pytest.mark.usefixtures("whole")
def test_an_xclbin_that_is_wider_than_the_device() -> None:
    narrow = subject("device.columns=2", "device.kernels_dir=kernels/build")
    status, text = told(project.check_kernel(narrow, "attention"))
    assert status == "fail"
    assert "attention.xclbin: wants 4 columns, and the device has 2 (device.columns); " in text


def test_no_compiler_is_a_warning_that_names_the_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    status, text = told(software.check_compiler(subject()))
    assert status == "warn"
    assert "device=cpu cannot run kernels in C++; install the package g++ (Debian, " in text


def test_a_machine_with_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    code, found, out = run(capsys)
    assert code == 1
    missing = {"pyxrt", "driver", "device node", "device", "kernel attention"}
    assert missing <= {name for name, status in found.items() if status == "fail"}
    assert {"XRT", "xrt-smi", "power mode", "other tenants", "idle suspend"} <= {
        name for name, status in found.items() if status == "warn"
    }
    failed = list(found.values()).count("fail")
    assert out.splitlines()[-1] == (
        f"hardware runs cannot work here: {failed} of {TOTAL} checks failed; device=simulator works"
    )
    assert "the PCI bus has no NPU" in out
    assert "Traceback" not in out


def test_the_forms_of_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    code, found, out = run(capsys)
    assert run(capsys, "-q")[1:] == (found, out.rpartition("hardware runs cannot")[0])
    assert run(capsys, "--json")[0] == code
    assert doctor.run(["--json"]) == 1
    rows = json.loads(capsys.readouterr().out)
    assert {row["name"]: row["status"] for row in rows} == found
    assert rows[0].keys() == {"name", "status", "message", "remedy"}
    assert f"{rows[0]['message']}; {rows[0]['remedy']}" in out
    assert not run(capsys, "--csv")[2].partition("name,status,message,remedy\n")[0]


def test_warnings_do_not_fail(whole: Smi, capsys: pytest.CaptureFixture[str]) -> None:
    whole.mode = "Default"
    whole.answer(report(contexts=[context(4711, "whisper")]))
    code, found, out = run(capsys)
    assert code == 0
    assert {name for name, status in found.items() if status == "warn"} == {
        "power mode",
        "other tenants",
    }
    assert (
        out.splitlines()[-1]
        == f"hardware runs can work here: none of {TOTAL} checks failed, 2 with a warning"
    )
    assert "pid 4711 (whisper)" in out


def test_the_command_here(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "harness", "doctor", "tracking=off"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = done.stdout.splitlines()
    assert done.stderr == ""
    assert done.returncode == int(any(line.startswith("fail") for line in lines))
    assert all(line[:6] in ("ok    ", "warn  ", "fail  ") for line in lines[:-1])
    assert lines[-1].startswith("hardware runs can")
    assert list(Path.cwd().iterdir()) == [], "it leaves nothing behind"


def test_a_reader_that_has_seen_enough() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "harness", "doctor", "tracking=off"]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (done.returncode in (0, 1), done.stderr) == (True, "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["device.indx=1"], "device.indx=1: unknown key; did you mean device.index=1?"),
        (["device.power_mode=turb"], "device.power_mode=turb: not allowed; did you mean turbo?"),
        (["device=simulator"], "device=simulator: doctor checks the hardware only; leave it out"),
        (["depth=0"], "depth=0: out of range"),
        (["depth=1,2"], "depth=1,2: several values; give one"),
        (["workload=attentoin"], "workload=attentoin: no such option; did you mean attention?"),
        (
            ["--colour"],
            "--colour: no such flag; allowed: --csv, --help, --json, --markdown, ",
        ),
    ],
)
def test_a_wrong_request(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert dispatch(["doctor", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"harness: {message}"), err
    assert len(err.splitlines()) == 1


def test_device_hardware_is_accepted(whole: Smi, capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor.run(["device=hardware"]) == 0


def test_ctrl_c(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(index: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(doctor, "read_state", interrupted)
    assert dispatch(["doctor"]) == 130
    assert capsys.readouterr().err == "harness: interrupted\n"


def test_a_folder_that_is_gone(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    for name in ("", "doctor"):
        command = [
            "sh",
            "-c",
            f"cd {gone} && rmdir {gone} && {sys.executable} -P -m harness {name} tracking=off",
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        gone.mkdir()
        assert (done.returncode, done.stdout) == (2, ""), done.stderr
        assert done.stderr.startswith("harness: the current folder does not exist any more"), (
            done.stderr
        )


def test_a_full_stdout() -> None:
    command = [sys.executable, "-m", "harness", "doctor", "tracking=off"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("harness: the list cannot be printed")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(("found", "status"), [("2000", "ok"), ("0", "warn"), (None, "warn")])
def test_the_watchdog(found: str | None, status: str) -> None:
    files(sysfs.ROOT)
    path = sysfs.ROOT / "sys/module/amdxdna/parameters/tdr_timeout_ms"
    path.unlink()
    if found:
        path.write_text(found)
    assert told(machine.check_watchdog(subject()))[0] == status


def test_a_check_that_raises_is_a_warning() -> None:
    def bad(_: Subject) -> Check:
        raise ValueError("of\nthe check")

    found = checked("bad", bad, subject())
    assert (found.status, found.name) == (Status.warn, "bad")
    assert found.finding == "could not be checked (ValueError: of the check)"
    assert checked("fine", lambda _: ok("fine", "a\n b"), subject()).finding == "a b"


# pyxrt and XRT


def test_pyxrt_of_another_python() -> None:
    folder = sysfs.ROOT / "usr/lib/python3/dist-packages"
    folder.mkdir(parents=True)
    path = folder / "pyxrt.cpython-39-x86_64-linux-gnu.so"
    path.touch()
    missing = subject(probe=Probe(error="ModuleNotFoundError: No module named 'pyxrt'"))
    status, text = told(software.check_pyxrt(missing))
    assert status == "fail"
    assert f"Python {platform.python_version()} cannot use it (ModuleNotFoundError" in text
    assert f"{path} is for Python 3.9" in text
    assert f"or XRT's package for {OWN}" in text
    assert "its package xrt is about X-rays" in text


@pytest.mark.parametrize(
    "name", [f"pyxrt.cpython-{OWN.replace('.', '')}-x86_64-linux-gnu.so", "pyxrt.so"]
)
def test_pyxrt_that_is_not_on_the_path(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "xrt" / "python"
    folder.mkdir(parents=True)
    (folder / name).touch()
    monkeypatch.setenv("XILINX_XRT", str(folder.parent))
    _, text = told(software.check_pyxrt(subject(probe=Probe(error="no"))))
    assert f"put {folder} on PYTHONPATH" in text


def test_the_package_about_x_rays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(software, "version", lambda _: "2.0")
    _, text = told(software.check_pyxrt(subject(probe=Probe(error="no"))))
    assert "the installed package xrt 2.0 is another one, about X-rays" in text


def test_an_old_pyxrt() -> None:
    old = Probe(path="pyxrt.so", opened=True)
    assert told(software.check_pyxrt(subject(probe=old)))[0] == "warn"
    status, text = told(software.check_pyxrt(subject("strategy=batch", probe=old)))
    assert status == "fail"
    assert "pyxrt.so has no runlist" in text
    status, text = told(
        software.check_pyxrt(subject(probe=replace(old, missing=("hw_context",), runlists=True)))
    )
    assert (status, "has no hw_context" in text) == ("fail", True)


def test_versions_of_xrt() -> None:
    none = replace(WHOLE, xrt=None)
    assert told(software.check_xrt(subject()))[1].startswith("2.25.0")
    told_by_device = subject(state=none, probe=Probe(host='{"version": "2.26.0"}'))
    assert told(software.check_xrt(told_by_device)) == ("ok", "2.26.0; ")
    for host in ("", "{", "[]", "null", '{"version": null}'):
        assert told(software.check_xrt(subject(state=none, probe=Probe(host=host))))[0] == "warn"


# The probe

HUNG = "import pathlib; pathlib.Path(__file__).with_name('hung').touch()"
"""Statement of the stand-in that says that it hangs from here on."""


def test_the_probe(stand_in: Callable[..., None]) -> None:
    stand_in()
    found = probe.ask(0)
    assert (found.opened, found.name, found.missing, found.runlists) == (
        True,
        "RyzenAI-npu1",
        (),
        True,
    )
    assert found.path.endswith("pyxrt.py")
    assert json.loads(found.host) == {"version": "2.25.0"}
    assert probe.ask(1).open_error == "No such device with index '1'"
    assert not probe.ask(0, opens=False).opened


@pytest.mark.parametrize(
    ("opening", "error"),
    [
        (f"{HUNG}; time.sleep(600)", "no answer within 2 s"),
        ("os.abort()", "its process ended with code -6"),
        ("os._exit(0)", "its process ended with code 0"),
        ("print('noise', flush=True); raise ValueError('many\\nlines')", "many\nlines"),
        ("raise SystemExit(3)", "its process ended with code 3"),
    ],
)
def test_a_device_that_hangs_or_crashes(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stand_in: Callable[..., None],
    opening: str,
    error: str,
) -> None:
    stand_in(opening=opening)
    expire_when(monkeypatch, (tmp_path / "python" / "hung").exists)
    found = probe.ask(0, timeout_s=2)
    assert (found.opened, found.error, found.open_error) == (False, "", error)
    status, text = told(machine.check_opens(subject(probe=found)))
    assert (status, f"pyxrt cannot open device 0 ({error})" in text) == ("fail", True)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (
            "raise OSError('libxrt_coreutil.so.2: cannot open')",
            "OSError: libxrt_coreutil.so.2: cannot open",
        ),
        ("import os; os.abort()", "its process ended with code -6"),
        (f"import time; {HUNG}; time.sleep(600)", "no answer within 2 s"),
    ],
)
def test_a_pyxrt_that_cannot_be_imported(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stand_in: Callable[..., None],
    text: str,
    error: str,
) -> None:
    stand_in(text)
    expire_when(monkeypatch, (tmp_path / "python" / "hung").exists)
    assert probe.ask(0, timeout_s=2) == Probe(error=error)


def test_a_pyxrt_that_is_something_else(stand_in: Callable[..., None]) -> None:
    stand_in("value = 1")
    found = probe.ask(0)
    assert found.missing == probe.NEEDED
    assert not found.opened


# The device


def test_a_driver_that_is_not_loaded() -> None:
    files(sysfs.ROOT, driver=False)
    status, text = told(machine.check_driver(subject(address=None)))
    assert status == "fail"
    assert (
        f"NPU at {BDF} (Phoenix or Hawk Point), but amdxdna is not loaded; "
        "load it: sudo modprobe amdxdna" in text
    )


def test_a_driver_that_drives_nothing() -> None:
    files(sysfs.ROOT, driver=False)
    (sysfs.ROOT / "sys/module/amdxdna").mkdir(parents=True)
    status, text = told(machine.check_driver(subject(address=None)))
    assert (status, "amdxdna 0.1 drives 0 device(s)" in text, "see dmesg" in text) == (
        "fail",
        True,
        True,
    )


def test_an_index_too_high() -> None:
    files(sysfs.ROOT)
    status, text = told(machine.check_driver(subject("device.index=1", address=None)))
    assert status == "fail"
    assert "drives 1 device(s); device.index=1 is none; give an index below 1" in text


def test_a_node_that_is_missing_or_another_device_s() -> None:
    files(sysfs.ROOT, node=False)
    (sysfs.ROOT / "dev/accel").mkdir(parents=True)
    (sysfs.ROOT / "dev/accel/accel7").touch()
    status, text = told(machine.check_node(subject()))
    assert (status, "accel7)" in text) == ("fail", True)


def test_a_node_that_may_not_be_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    files(sysfs.ROOT)
    monkeypatch.setattr(Path, "group", lambda _: "render")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    status, text = told(machine.check_node(subject()))
    assert status == "fail"
    assert "its group is render; join its group: sudo usermod -aG render $USER" in text


def test_a_device_in_use_is_not_opened(
    whole: Smi,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    stand_in: Callable[..., None],
) -> None:
    stand_in(opening="open('opened', 'w')")
    lock = locks.lock_device(0)
    try:
        code, found, out = run(capsys)
    finally:
        lock.release()
    assert (code, found["device"], found["harness's lock"]) == (0, "warn", "warn")
    assert f"held by pid {os.getpid()}" in out
    assert not Path("opened").exists()


def test_locked_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    files(sysfs.ROOT)
    mib = 2**20
    monkeypatch.setattr(resource, "getrlimit", lambda _: (64 * mib, 64 * mib))
    status, text = told(machine.check_memlock(subject()))
    assert status == "warn", "64 MiB are the heap's alone"
    assert "limit 64.0 MiB; pooled d2 b1 c1 needs 64.0 MiB" in text
    monkeypatch.setattr(resource, "getrlimit", lambda _: (65 * mib, 65 * mib))
    assert told(machine.check_memlock(subject()))[0] == "ok"
    large = subject("strategy=stacked", "strategy.batch=128", "depth=8")
    assert "needs 80.0 MiB" in told(machine.check_memlock(large))[1], (
        "8 x 128 tiles of 12,288 and 4,096 bytes"
    )
    assert told(machine.check_memlock(large))[0] == "warn"
    (sysfs.ROOT / "proc/self/status").write_text("CapEff:\t0000000000004000\n")
    assert told(machine.check_memlock(large))[0] == "ok"
    (sysfs.ROOT / "proc/self/status").write_text("CapEff:\t0000000000003fff\n")
    assert told(machine.check_memlock(large))[0] == "warn"


@pytest.mark.parametrize(
    ("mode", "wanted", "user", "status", "text"),
    [
        ("performance", "null", 1000, "ok", "performance (H Clock 1600 MHz)"),
        (
            "default",
            "null",
            0,
            "warn",
            "the clock follows the load; sudo xrt-smi configure --pmode performance",
        ),
        (None, "null", 0, "warn", "cannot be read"),
        ("default", "turbo", 0, "ok", "turbo will be requested"),
        ("turbo", "turbo", 1000, "ok", "turbo"),
        ("default", "turbo", 1000, "fail", "device.power_mode=turbo needs root"),
        (None, "turbo", 0, "fail", "device.power_mode=turbo needs root and xrt-smi"),
    ],
)
def test_power_modes(
    monkeypatch: pytest.MonkeyPatch,
    mode: str | None,
    wanted: str,
    user: int,
    status: str,
    text: str,
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: user)
    found = told(
        machine.check_power(
            subject(f"device.power_mode={wanted}", state=replace(WHOLE, power_mode=mode))
        )
    )
    assert found[0] == status
    assert text in found[1]


@pytest.mark.parametrize(
    ("governor", "status"), [("performance", "ok"), ("powersave", "warn"), (None, "warn")]
)
def test_governors(governor: str | None, status: str) -> None:
    assert (
        told(machine.check_governor(subject(state=replace(WHOLE, governor=governor))))[0] == status
    )


@pytest.mark.parametrize(
    ("tenants", "status"), [([], "ok"), (["pid 9 (a)"], "warn"), (None, "warn")]
)
def test_tenants(tenants: list[str] | None, status: str) -> None:
    assert told(machine.check_tenants(subject(state=replace(WHOLE, tenants=tenants))))[0] == status


@pytest.mark.parametrize(
    ("control", "delay", "status", "text"),
    [
        ("on", "5000", "ok", "off"),
        ("auto", "5000", "ok", "after 5000 ms idle"),
        ("auto", "100", "warn", "it may sleep between passes; echo on"),
        ("auto", "", "warn", "after an unknown time"),
        ("auto", "-1", "warn", "after -1 ms"),
        ("", "5000", "warn", "setting not found"),
    ],
)
def test_idle_suspend(control: str, delay: str, status: str, text: str) -> None:
    files(sysfs.ROOT)
    power = sysfs.ROOT / "sys/bus/pci/devices" / BDF / "power"
    (power / "control").write_text(control)
    (power / "autosuspend_delay_ms").write_text(delay)
    found = told(machine.check_suspend(subject()))
    assert (found[0], text in found[1]) == (status, True), found


# What the harness needs


@pytest.mark.parametrize(
    ("break_it", "text"),
    [
        (lambda build: (build / "attention.xclbin").unlink(), "no such file"),
        (lambda build: (build / "attention.insts.bin").unlink(), "no such file"),
        (
            lambda build: (build / "attention.insts.bin").write_bytes(b""),
            "contains no instructions",
        ),
        (
            lambda build: (build / "attention.xclbin").write_bytes(bytes(4096)),
            "Invalid xclbin; build kernel attention",
        ),
        (
            lambda build: (build / "attention.xclbin").write_bytes(XCLBIN.read_bytes()[:-9]),
            "m_length does not match",
        ),
    ],
)
def test_a_kernel_that_cannot_be_run(
    whole: Smi, break_it: Callable[[Path], None], text: str
) -> None:
    assert told(project.check_kernel(subject(), "attention"))[0] == "ok"
    break_it(Path("kernels/build"))
    found = told(project.check_kernel(subject(), "attention"))
    assert (found[0], text in found[1]) == ("fail", True), found


def test_the_folder_of_kernels_is_absolute(capsys: pytest.CaptureFixture[str]) -> None:
    dispatch(["doctor", "device.kernels_dir=built"])
    (line,) = [each for each in capsys.readouterr().out.splitlines() if " kernel gelu " in each]
    assert f"device.kernels_dir={Path.cwd() / 'built'}: {Path.cwd() / 'built/gelu.xclbin'}" in line


def test_another_kernel_may_be_missing() -> None:
    config = replace(
        subject().config, workload=replace(subject().config.workload, kernel="attention")
    )
    other = replace(
        subject(), config=replace(config, workload=replace(config.workload, kernel="gelu"))
    )
    assert told(project.check_kernel(other, "attention"))[0] == "warn"
    assert project.kernel_names(["gelu", "matmul"])[:2] == ["gelu", "matmul"]


def test_a_kernel_with_too_few_arguments(whole: Smi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "harness.sim.kernel_model.read_models",
        lambda *_: ([SimpleNamespace(name="MLIR_AIE")], None),
    )
    monkeypatch.setattr(
        "harness.sim.xclbin.xclbin.xclbinkernel",
        lambda image: SimpleNamespace(get_name=lambda: image.name, get_num_args=lambda: 4),
    )
    status, text = told(project.check_kernel(subject(), "attention"))
    assert (status, "declares 4 arguments; attention takes 5" in text) == ("fail", True)


@pytest.mark.parametrize(("free", "status"), [(2**40, "ok"), (2**29, "warn"), (2**20, "fail")])
def test_disk_space(monkeypatch: pytest.MonkeyPatch, free: int, status: str) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=free))
    assert told(project.check_disk(subject()))[0] == status


def test_outputs_that_cannot_be_written() -> None:
    Path("outputs").touch()
    assert told(project.check_disk(subject()))[0] == "fail"


def test_a_local_store() -> None:
    local = subject("tracking=local")
    assert told(project.check_tracking(local))[0] == "ok", "it will be made"
    Path("outputs").mkdir()
    store = Path("outputs/mlflow.db")
    store.write_bytes(b"SQLite format 3\0 and more")
    assert told(project.check_tracking(local))[0] == "ok"
    store.write_bytes(b"no database")
    status, text = told(project.check_tracking(local))
    assert (status, "the file is not a sqlite database" in text) == ("warn", True)
    store.unlink()
    store.mkdir()
    assert told(project.check_tracking(local))[0] == "warn"
    assert told(project.check_tracking(subject()))[1].startswith("off")


class Answer(http.server.BaseHTTPRequestHandler):
    """Answers as MLflow's server does, under one path."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/right/health" else 404)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    with http.server.HTTPServer(("127.0.0.1", 0), Answer) as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{made.server_port}"
        made.shutdown()


def test_a_server(server: str) -> None:
    right, wrong = (
        subject("tracking=server", f"tracking.uri={server}/{name}/") for name in ("right", "wrong")
    )
    assert told(project.check_tracking(right))[0] == "ok"
    status, text = told(project.check_tracking(wrong))
    assert (status, "answers 404" in text, "tracking=off" in text) == ("warn", True, True)
    unreachable = subject("tracking=server", "tracking.uri=http://127.0.0.1:9")
    assert told(project.check_tracking(unreachable))[0] == "warn"


@pytest.mark.parametrize(("command", "code"), [("doctor", 1), ("run", 2)])
def test_a_python_that_the_harness_is_not_installed_for(command: str, code: int) -> None:
    """The distribution's, say, which has pyxrt."""
    line = [sys.executable, "-S", "-m", "harness", command]
    done = subprocess.run(line, check=False, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (code, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"harness: {sys.executable} has no ")
    assert "install the harness for it" in line
