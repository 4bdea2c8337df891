"""The phase group: which knobs a stage of the optimisation roadmap may change."""

from __future__ import annotations

from dataclasses import MISSING, asdict, dataclass

from harness.config.setting import Schema, setting
from harness.config.strategy import Buffers, Strategy
from harness.config.workload import EncoderWorkload, Workload
from harness.errors import RequestError, nearest, override_text

KNOBS = ("buffers", "depth", "batch", "columns", "fused", "resident", "prefetch")
"""Differences from the serial baseline: knobs of the strategy, and fused kernels of a workload."""


@dataclass(frozen=True)
class Phase(Schema):
    """A stage of the optimisation roadmap: a tag of the run, and the knobs that it allows."""

    group = "phase."

    name: str = setting(MISSING, "name of the phase")
    goal: str = setting("", "what the phase changes, in words")
    guide_target: str = setting("", "the guide's target: speed-up over the phase before")
    guide_rtf: list[float] = setting(
        list, "least and most RTF that the guide expects of the phase; empty: none", unit="RTF"
    )
    allows: list[str] = setting(
        lambda: list(KNOBS), f"knobs that may differ from the baseline, of {', '.join(KNOBS)}"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for knob in self.allows:
            if knob not in KNOBS:
                raise RequestError(
                    f"phase.allows={override_text(self.allows)}: {knob}: unknown; "
                    f"{nearest(knob, KNOBS)}"
                )
        if len(self.guide_rtf) not in (0, 2):
            limits = ",".join(f"{limit:g}" for limit in self.guide_rtf)
            raise RequestError(
                f"phase.guide_rtf=[{limits}]: give the least and the most, or nothing"
            )

    def check(self, strategy: Strategy, workload: Workload) -> None:
        """Raise RequestError for a knob that the phase does not allow."""
        baseline = asdict(Strategy(buffers=Buffers.per_tile))
        differences = {
            f"strategy.{knob}": value
            for knob, value in asdict(strategy).items()
            if value != baseline[knob]
        }
        # Only encoders have the key. In a chain, a fused kernel is a kernel like any other.
        if isinstance(workload, EncoderWorkload) and workload.fused:
            differences["workload.fused"] = True
        allowed = f"allows {', '.join(self.allows)}" if self.allows else "is the serial baseline"
        for key, value in differences.items():
            if key.split(".")[1] not in self.allows:
                raise RequestError(
                    f"{key}={override_text(value)}: phase={self.name} {allowed}; "
                    "use a later phase, or phase=free"
                )
