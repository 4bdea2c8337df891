"""The power mode is what was wanted inside, and what it was before, afterwards, whatever happens."""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from npu_machine import BDF, REFUSED, Smi, files

from harness.config.device import PowerMode
from harness.device.host import smi, sysfs
from harness.device.host.power import power_mode
from harness.errors import DeviceError, RequestError

PERFORMANCE = PowerMode.performance


@pytest.fixture
def plug(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Smi]:
    monkeypatch.setattr(sysfs, "ROOT", files(tmp_path / "root"))
    monkeypatch.setattr(smi, "USUAL", tmp_path / "none")
    monkeypatch.setenv("PATH", "/usr/bin:/bin")

    def make(**parts: str) -> Smi:
        made = Smi(tmp_path / "smi", **parts)
        monkeypatch.setenv("PATH", f"{made.folder}:/usr/bin:/bin")
        return made

    return make


def requests(made: Smi) -> list[str]:
    return [call for call in made.calls if call.startswith("configure")]


def test_none_leaves_it_alone(plug: Callable[..., Smi]) -> None:
    made = plug()
    with power_mode(None, 0):
        pass
    assert made.calls == []


def test_it_is_set_and_restored(plug: Callable[..., Smi]) -> None:
    made = plug()
    with power_mode(PERFORMANCE, 0):
        assert made.mode == "performance"
    assert requests(made) == [
        f"configure -d {BDF} --pmode performance",
        f"configure -d {BDF} --pmode default",
    ]
    assert made.mode == "default"


def test_the_present_mode_needs_nothing(plug: Callable[..., Smi]) -> None:
    made = plug(configure=REFUSED)
    made.mode = "Performance"
    with power_mode(PERFORMANCE, 0):
        pass
    assert requests(made) == []


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, RequestError])
def test_it_is_restored_after_an_exception(
    plug: Callable[..., Smi], error: type[BaseException]
) -> None:
    made = plug()
    made.mode = "Balanced"
    with pytest.raises(error), power_mode(PERFORMANCE, 0):
        raise error
    assert made.mode == "balanced"


def test_refused(plug: Callable[..., Smi]) -> None:
    made = plug(configure=REFUSED)
    with pytest.raises(RequestError) as caught, power_mode(PERFORMANCE, 0):
        pytest.fail("the body is not run")
    text = str(caught.value)
    assert text.startswith(
        "device.power_mode=performance: xrt-smi: DRM_IOCTL_AMDXDNA_SET_STATE IOCTL failed (err=-13)"
    )
    assert "run as root" in text
    assert "sudo xrt-smi configure --pmode performance" in text
    assert "leave device.power_mode out" in text
    assert "\n" not in text
    assert len(requests(made)) == 1, "nothing was changed, so nothing is restored"


def test_no_tool(plug: Callable[..., Smi]) -> None:
    with pytest.raises(RequestError, match="xrt-smi is not on PATH"), power_mode(PERFORMANCE, 0):
        pytest.fail("the body is not run")


def test_a_mode_that_cannot_be_read_is_not_changed(plug: Callable[..., Smi]) -> None:
    made = plug()
    made.mode = "N/A"
    with pytest.raises(RequestError, match="cannot be read"), power_mode(PERFORMANCE, 0):
        pytest.fail("the body is not run")
    assert requests(made) == []


def test_a_driver_that_says_yes_and_does_nothing(plug: Callable[..., Smi]) -> None:
    plug(configure="exit 0")
    with (
        pytest.raises(RequestError, match="no error, but the mode is default"),
        power_mode(PERFORMANCE, 0),
    ):
        pytest.fail("the body is not run")


def test_an_answer_that_comes_too_late(
    plug: Callable[..., Smi], monkeypatch: pytest.MonkeyPatch
) -> None:
    late = '[ "$last" = performance ] && { echo performance > $(dirname $0)/mode; sleep 30; }'
    made = plug(configure=late)
    monkeypatch.setattr(smi, "SET_TIMEOUT_S", 0.5)
    with pytest.raises(RequestError, match=r"no answer within 0\.5 s"), power_mode(PERFORMANCE, 0):
        pytest.fail("the body is not run")
    assert made.mode == "default", "it had changed, so it is restored"


def test_restoring_fails(plug: Callable[..., Smi], caplog: pytest.LogCaptureFixture) -> None:
    once = '[ "$last" = default ] && { echo "ERROR: gone" >&2; exit 1; }'
    plug(configure=once)
    with (
        pytest.raises(DeviceError, match="default, the mode before, was not restored"),
        power_mode(PERFORMANCE, 0),
    ):
        pass
    plug(configure=once)
    with pytest.raises(ValueError, match="own") as caught, power_mode(PERFORMANCE, 0):
        raise ValueError("own")
    assert "was not restored (gone)" in caught.value.__notes__[0]
    assert "was not restored (gone)" in caplog.text


def test_nothing_is_left_for_the_end_of_the_process(
    plug: Callable[..., Smi], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[object] = []
    monkeypatch.setattr(atexit, "register", kept.append)
    monkeypatch.setattr(atexit, "unregister", kept.remove)

    def restoring() -> list[object]:
        return [function for function in kept if getattr(function, "__name__", "") == "restore"]

    plug()
    with power_mode(PERFORMANCE, 0):
        assert len(restoring()) == 1
    assert restoring() == []
    plug(configure=REFUSED)
    with pytest.raises(RequestError), power_mode(PERFORMANCE, 0):
        pass
    assert restoring() == []


PROGRAM = """
import sys, time, signal
from pathlib import Path
from harness.device import PowerMode
from harness.hardware import smi, sysfs
from harness.hardware.power import power_mode
signal.signal(signal.SIGINT, signal.default_int_handler)
sysfs.ROOT, smi.USUAL = Path({root!r}), Path({smi!r})
manager = power_mode(PowerMode.performance, 0)
{body}
"""
HELD = """
with manager:
    print("held", flush=True)
    time.sleep(60)
"""
LEFT = """
import builtins
manager.__enter__()
builtins.kept = manager
"""
"""Nobody ever leaves it, as after a Ctrl-C just before that."""


def started(made: Smi, body: str) -> subprocess.Popen[str]:
    program = PROGRAM.format(root=str(sysfs.ROOT), smi=str(made.path), body=body)
    return subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_ctrl_c_while_it_is_being_restored(plug: Callable[..., Smi]) -> None:
    made = plug(configure='[ "$last" = default ] && { touch $(dirname $0)/restoring; sleep 1; }')
    with started(made, HELD) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        process.send_signal(signal.SIGINT)
        wait_for((made.folder / "restoring").exists)
        for _ in range(3):
            process.send_signal(signal.SIGINT)
            time.sleep(0.1)
        _, err = process.communicate(timeout=20)
    assert made.mode == "default"
    assert process.returncode == -signal.SIGINT
    assert "KeyboardInterrupt" in err


def test_ctrl_c_while_it_is_being_set(plug: Callable[..., Smi]) -> None:
    made = plug(
        configure='[ "$last" = performance ] && { touch $(dirname $0)/setting; sleep 1; touch $(dirname $0)/set; }'
    )
    with started(made, HELD) as process:
        wait_for((made.folder / "setting").exists)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=20)
    assert out == "", "the body is not begun"
    assert (made.folder / "set").exists(), "xrt-smi is not killed while the driver works"
    assert made.mode == "default"


def test_the_end_of_the_process_restores_what_was_missed(plug: Callable[..., Smi]) -> None:
    made = plug()
    with started(made, LEFT) as process:
        process.communicate(timeout=20)
    assert made.mode == "default"
    assert len(requests(made)) == 2


def test_a_ctrl_c_of_the_terminal_does_not_reach_xrt_smi(plug: Callable[..., Smi]) -> None:
    """Ctrl-C goes to the whole foreground group: xrt-smi must not be in it."""
    made = plug(configure="ps -o sid= -p $$ > $(dirname $0)/session")
    smi.set_power_mode("turbo")
    assert int((made.folder / "session").read_text()) != os.getsid(0)
