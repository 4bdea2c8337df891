"""The power mode is the wanted one inside, and the former one afterwards, whatever happens."""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.npu_machine import BDF, REFUSED, Smi, expire_when, files
from support.process import LIMIT_S, ROOT, TESTS, marking, wait_for

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
    late = (
        '[ "$last" = performance ] && '
        "{ echo performance > $(dirname $0)/mode; touch $(dirname $0)/late; "
        "read never < $(dirname $0)/never; }"
    )
    made = plug(configure=late)
    fifo(made.folder / "never")
    expire_when(monkeypatch, (made.folder / "late").exists)
    with pytest.raises(RequestError, match=r"no answer within 30 s"), power_mode(PERFORMANCE, 0):
        pytest.fail("the body is not run")
    assert made.mode == "default", "it had changed, so it is restored"


def test_restoring_fails(plug: Callable[..., Smi], caplog: pytest.LogCaptureFixture) -> None:
    once = '[ "$last" = default ] && { echo "ERROR: gone" >&2; exit 1; }'
    plug(configure=once)
    with (
        pytest.raises(DeviceError, match="the previous mode, default, was not restored"),
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
from harness.config.device import PowerMode
from harness.device.host import smi, sysfs
from harness.device.host.power import power_mode
signal.signal(signal.SIGINT, signal.default_int_handler)
sysfs.ROOT, smi.USUAL = Path({root!r}), Path({smi!r})
{marks}
manager = power_mode(PowerMode.performance, 0)
{body}
"""
HELD = """
with manager:
    print("held", flush=True)
    time.sleep(600)
"""
LEFT = """
import builtins
manager.__enter__()
builtins.kept = manager
"""
"""The context is never left, as after a Ctrl-C just before its end."""


PENDING = "harness.device.interrupt:Interrupt._mark_pending"
"""Called when Ctrl-C arrives while it is delayed."""


def started(made: Smi, body: str) -> subprocess.Popen[str]:
    marks = "\n".join(
        marking(PENDING, made.folder / f"pending {number}", number) for number in (1, 2, 3)
    )
    code = PROGRAM.format(root=str(sysfs.ROOT), smi=str(made.path), marks=marks, body=body)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(TESTS)])}
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, "-c", code], stdout=pipe, stderr=pipe, text=True, env=environment
    )


def hold(made: Smi, process: subprocess.Popen[str], number: int) -> None:
    """Send Ctrl-C for the `number`-th time while it is held back, and wait until it is."""
    process.send_signal(signal.SIGINT)
    wait_for((made.folder / f"pending {number}").exists, process)


def fifo(path: Path) -> Path:
    """A named pipe: a reader waits until a line is written."""
    os.mkfifo(path)
    return path


def test_ctrl_c_while_it_is_being_restored(plug: Callable[..., Smi]) -> None:
    made = plug(
        configure='[ "$last" = default ] && '
        "{ touch $(dirname $0)/restoring; read go < $(dirname $0)/go; }"
    )
    go = fifo(made.folder / "go")
    with started(made, HELD) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        process.send_signal(signal.SIGINT)
        wait_for((made.folder / "restoring").exists, process)
        for number in (1, 2, 3):
            hold(made, process, number)
        go.write_text("\n")
        _, err = process.communicate(timeout=LIMIT_S)
    assert made.mode == "default"
    assert process.returncode == -signal.SIGINT
    assert "KeyboardInterrupt" in err


def test_ctrl_c_while_it_is_being_set(plug: Callable[..., Smi]) -> None:
    made = plug(
        configure='[ "$last" = performance ] && '
        "{ touch $(dirname $0)/setting; read go < $(dirname $0)/go; touch $(dirname $0)/set; }"
    )
    go = fifo(made.folder / "go")
    with started(made, HELD) as process:
        wait_for((made.folder / "setting").exists, process)
        hold(made, process, 1)
        go.write_text("\n")
        out, _ = process.communicate(timeout=LIMIT_S)
    assert out == "", "the body is not begun"
    assert (made.folder / "set").exists(), "xrt-smi is not killed while the driver works"
    assert made.mode == "default"


def test_the_end_of_the_process_restores_what_was_missed(plug: Callable[..., Smi]) -> None:
    made = plug()
    with started(made, LEFT) as process:
        process.communicate(timeout=LIMIT_S)
    assert made.mode == "default"
    assert len(requests(made)) == 2


def test_a_ctrl_c_of_the_terminal_does_not_reach_xrt_smi(plug: Callable[..., Smi]) -> None:
    """Ctrl-C goes to the whole foreground group: xrt-smi must not be in it."""
    made = plug(configure="ps -o sid= -p $$ > $(dirname $0)/session")
    smi.set_power_mode("turbo")
    assert int((made.folder / "session").read_text()) != os.getsid(0)
