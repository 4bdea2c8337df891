"""What a phase of the optimisation programme may do beyond the serial baseline."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from harness.config.setting import MISSING, Schema, setting
from harness.config.strategy import Buffers, Strategy
from harness.config.workload import EncoderWorkload, Workload
from harness.errors import RequestError, nearest, override_text

KNOBS = ("buffers", "depth", "batch", "columns", "fused", "resident", "prefetch")
"""What differs from the serial baseline: the strategy's knobs, and fused kernels of a workload."""


@dataclass(frozen=True)
class Phase(Schema):
    """A stage of the optimisation programme: a tag of the run, and the knobs that it allows."""

    group = "phase."

    name: str = setting(MISSING, "name of the phase")
    goal: str = setting("", "what the phase changes, in words")
    guide_target: str = setting("", "speed-up over the phase before that the guide asks for")
    guide_rtf: list[float] = setting(
        list, "least and most RTF that the guide expects of the phase; empty: none", unit="RTF"
    )
    allows: list[str] = setting(
        lambda: list(KNOBS), f"knobs that may differ from the baseline: of {', '.join(KNOBS)}"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for knob in self.allows:
            if knob not in KNOBS:
                raise RequestError(
                    f"phase.allows={override_text(self.allows)}: {knob}: unknown; {nearest(knob, KNOBS)}"
                )
        if len(self.guide_rtf) not in (0, 2):
            given = ",".join(f"{limit:g}" for limit in self.guide_rtf)
            raise RequestError(
                f"phase.guide_rtf=[{given}]: give the least and the most, or nothing"
            )

    def check(self, strategy: Strategy, workload: Workload) -> None:
        """Raise RequestError for a knob that the phase does not allow."""
        serial = asdict(Strategy(buffers=Buffers.per_tile))
        used = {
            f"strategy.{key}": value
            for key, value in asdict(strategy).items()
            if value != serial[key]
        }
        if isinstance(workload, EncoderWorkload) and workload.fused:
            used["workload.fused"] = True
        for key, value in used.items():
            if key.split(".")[1] not in self.allows:
                allowed = (
                    f"allows {', '.join(self.allows)}" if self.allows else "is the serial baseline"
                )
                raise RequestError(
                    f"{key}={override_text(value)}: phase={self.name} {allowed}; "
                    "use a later phase, or phase=free"
                )
