"""Options, profiles and fixtures of all tests."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

# One thread per test process, set before anything imports numpy: threads of OpenBLAS spin while
# they wait, and the processes that run tests side by side have the cores already.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# A second of processor time for each run; tests of pictures switch them on.
os.environ.setdefault("HARNESS_PICTURES", "off")

# The processes that run tests side by side start commands from one server (support.fork_server).
os.environ.setdefault("HARNESS_TESTS_OWNER", str(os.getpid()))

from harness.device.host import locks

# Folders of tests in memory where there is room: stores of MLflow and records wait for the disk.
MEMORY = Path("/dev/shm")
ROOM_BYTES = 2 << 30
if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ROOM_BYTES:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))

# A shell starts background jobs with Ctrl-C ignored, nohup a command with SIGHUP ignored, and
# children inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

try:
    from hypothesis import HealthCheck, settings
except ImportError:  # tests/contract runs where there is only what Debian's pyxrt needs
    pass
else:
    # No deadline and no limit on slow examples: a verdict must not depend on the machine's load.
    LOAD_PROOF = {
        "deadline": None,
        "suppress_health_check": [HealthCheck.too_slow],
        "print_blob": True,
    }
    # The same examples every time: nor may it depend on the day. `explore` draws new ones.
    settings.register_profile("same", derandomize=True, **LOAD_PROOF)
    settings.register_profile("explore", derandomize=False, **LOAD_PROOF)
    settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))

    from support import config_copies, yaml_cache

    config_copies.install()
    yaml_cache.install()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Here, not in tests/npu: pytest takes options only from the first folder it is given."""
    parser.addoption(
        "--run-npu", action="store_true", help="run tests/npu on the NPU of this machine, too"
    )
    parser.addoption(
        "--kernels-dir",
        default=os.environ.get("NPU_KERNELS_DIR", "kernels/build"),
        help="folder of attention.xclbin and attention.insts.bin (NPU_KERNELS_DIR)",
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest tests, which no process must have left at the end."""
    items.sort(key=lambda item: item.path.name not in {"test_docs.py", "test_types.py"})


@pytest.fixture(autouse=True)
def own_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests neither wait for experiments of this machine nor keep them waiting."""
    monkeypatch.setattr(locks, "FOLDER", tmp_path)


@pytest.fixture
def in_folder(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Any]:
    """Work in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def shell(
    in_folder: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Any]:
    """The command in this process and in an empty folder: `support.process.Shell`."""
    # Not at the top: tests/contract runs without Hydra.
    from support.process import in_process

    with in_process(monkeypatch, capfd) as run:
        yield run
