"""What pyxrt 2.25.0 says of itself (tests/data/pyxrt_2_25.json); how to observe a probe."""

from __future__ import annotations

import json
import re
import warnings
from pathlib import Path
from typing import Any

from harness.sim.clock import ProcessAborted

DATA = Path(__file__).parent.parent / "data"
SURFACE = json.loads((DATA / "pyxrt_2_25.json").read_text())
XCLBIN = "mlir_aie.xclbin"


def normal(text: str) -> str:
    return re.sub(r" at 0x[0-9a-f]+", "", text).rstrip()


def observe(code: str, names: dict[str, Any]) -> dict[str, Any]:
    """What a probe does, in the terms of the JSON file."""
    *before, last = (part.strip() for part in code.split(";;"))
    found: dict[str, Any] = {}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            for part in before:
                exec(part, names)
            try:
                expression = compile(last, "probe", "eval")
            except SyntaxError:
                exec(last, names)
                found["ok"] = ""
            else:
                found["ok"] = normal(repr(eval(expression, names)))
        except ProcessAborted:
            return {"ends": "SIGSEGV"}
        except BaseException as error:
            found = {"raises": type(error).__name__, "text": normal(str(error))}
    if caught:
        found["warns"] = [f"{each.category.__name__}: {each.message}" for each in caught]
    return found
