"""tests/data/pyxrt_2_25.json is still what pyxrt says; tests/sim/test_pyxrt_surface.py uses it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).parent.parent
OF_VERSION = "2.25"
COMMITTED = json.loads((TESTS / "data" / "pyxrt_2_25.json").read_text())


@pytest.fixture(scope="module")
def gathered() -> Any:
    """By a process of its own: it forks for each probe, and some of them crash."""
    pyxrt = pytest.importorskip(
        "pyxrt", reason="pyxrt is not installed here; `make test-xrt` has it"
    )
    version = os.environ.get("PYXRT_VERSION", OF_VERSION)  # Debian's; a pyxrt does not tell its own
    if OF_VERSION not in version:
        pytest.skip(
            f"pyxrt is {version} by now, not {OF_VERSION}; "
            "`python -m contract.gather` makes another file"
        )
    if pyxrt.enumerate_devices():
        pytest.skip("there is an NPU here; the file tells of a system without one")
    found = (
        str(TESTS.parent),
        str(TESTS),
        os.environ.get("PYTHONPATH", ""),
    )  # XRT's setup script sets it
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(found)}
    ran = subprocess.run(
        [sys.executable, "-m", "contract.gather"], env=environment, capture_output=True, check=True
    )
    return json.loads(ran.stdout[ran.stdout.index(b"{") :])


@pytest.mark.parametrize("part", ["names", "enums", "signatures"])
def test_names_values_and_signatures(gathered: Any, part: str) -> None:
    assert gathered[part] == COMMITTED[part]


def test_probes(gathered: Any) -> None:
    now, before = gathered["probes"], COMMITTED["probes"]
    assert {code: now[code] for code in before if now[code] != before[code]} == {}
