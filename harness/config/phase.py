"""What a phase of the optimisation programme may do beyond the serial baseline."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

from harness.config.strategy import Buffers, Strategy
from harness.config.workload import Workload
from harness.errors import RequestError, as_given, nearest

KNOBS = ("buffers", "depth", "batch", "columns", "fused", "resident", "prefetch")
"""What can be done beyond the serial baseline: the strategy's knobs, and kernels of a workload fused."""


@dataclass(frozen=True)
class Phase:
    """A stage of the optimisation programme; a tag of the run, and what it may do beyond the serial baseline.

    guide_target: the speed-up over the phase before that the guide wants; guide_rtf: the least and the most RTF that it
    expects of the phase. allows: of KNOBS.
    """

    name: str
    goal: str = ""
    guide_target: str = ""
    guide_rtf: list[float] = field(default_factory=list)
    allows: list[str] = field(default_factory=lambda: list(KNOBS))

    def __post_init__(self) -> None:
        for knob in self.allows:
            if knob not in KNOBS:
                raise RequestError(
                    f"phase.allows=[{','.join(self.allows)}]: {knob}: unknown; {nearest(knob, KNOBS)}"
                )
        if len(self.guide_rtf) not in (0, 2):
            given = ",".join(f"{limit:g}" for limit in self.guide_rtf)
            raise RequestError(
                f"phase.guide_rtf=[{given}]: give the least and the most, or nothing"
            )

    def check(self, strategy: Strategy, workload: Workload) -> None:
        """RequestError where these do what the phase does not allow."""
        serial = asdict(Strategy(buffers=Buffers.per_tile))
        used = {
            f"strategy.{key}": value
            for key, value in asdict(strategy).items()
            if value != serial[key]
        }
        if workload.fused:
            used["workload.fused"] = True
        for key, value in used.items():
            if key.split(".")[1] not in self.allows:
                allowed = (
                    f"allows {', '.join(self.allows)}" if self.allows else "is the serial baseline"
                )
                raise RequestError(
                    f"{key}={as_given(value)}: phase={self.name} {allowed}; use a later phase, or phase=free"
                )
