"""Experiment harness for NPU pipelines: one code path over real and simulated hardware.

Layers, lowest first. A module imports from its own layer or from a lower one, never from a
higher one; `tests/test_architecture.py` reads this list.

    errors units kernel          error classes, units, kernel specs
    hazard xclbin aie_partition  hazards of buffers; reading xclbin files
    measure inputs models        timelines and metrics; tiles; encoders as kernel calls
    config                       what a request may say: schemas, composition, messages
    sim                          the simulated machine behind the pyxrt API, and its sanitizer
    device                       backends that execute kernels, and the machine around an NPU
    execution                    an experiment: verify, warm up, time, give a verdict
    results                      the record of a run, and what follows from records
    tracking report study        MLflow; tables, pictures, traces; answers from many runs
    api commands __main__        the faces: Python and the command line

`harness.run`, `harness.sweep` and `harness.records` are the functions of `harness.api`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.api import records as records
    from harness.api import run as run
    from harness.api import sweep as sweep

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import `harness.api` on the first use of one of its functions, because it takes long."""
    if name in ("records", "run", "sweep"):
        from harness import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
