"""Imported first by every benchmark: ends it with one line where a package is missing."""

from __future__ import annotations

import sys
from importlib.util import find_spec

NEEDED = ("numpy", "hydra", "mlflow", "simpy", "harness")

missing = [name for name in NEEDED if find_spec(name) is None]
if missing:
    sys.exit(
        f"{sys.executable} has no {', '.join(missing)}; "
        "install what benchmarks need, in the folder of "
        "the source: pip install -e '.[test]'"
    )
