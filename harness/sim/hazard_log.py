"""Collects the hazards of a machine: one entry per pair of places in the program, with a count."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from harness.hazard import Hazard, Kind
from harness.sim.sites import Site, call_of, present_call

if TYPE_CHECKING:
    from harness.sim.access import Access
    from harness.sim.launch import Launch
    from harness.sim.machine import Machine

MOST_HAZARDS = 1000
"""Most pairs of places that are stored. More of them usually have one common cause."""


class HazardLog:
    """The hazards of one machine, in the order of their first occurrence."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._hazards: dict[tuple[object, ...], Hazard] = {}

    def take(self) -> list[Hazard]:
        """Return the hazards since the last call, and remove them from the log."""
        hazards = list(self._hazards.values())
        self._hazards.clear()
        return hazards

    def report(
        self, kind: Kind, access: Access, earlier: Site | None, what: str, how: str = ""
    ) -> None:
        """Add a hazard of the bytes of `access`, between an earlier call and the present one."""
        self.add(kind, access.launch, access.memory.name, access.key, earlier, what, how)

    def add(
        self,
        kind: Kind,
        launch: Launch | None,
        subject: str,
        key: tuple[int, int],
        earlier: Site | None,
        what: str,
        how: str = "",
    ) -> None:
        """Add a hazard of bytes `key` of `subject`. If the two places are in the log, count it.

        launch: None for a hazard that concerns no run. what: name of the earlier call. how: text to
        put before the name of the present call.
        """
        later = present_call(self._machine.clock.now_ns, how)
        first = call_of(earlier, what) if earlier else None
        # Places without their times, so that a loop gives one entry.
        first_place = first and (first.what, first.file, first.line)
        places = (kind, first_place, later.what, later.file, later.line)
        # The first occurrence keeps its bytes and times; later ones only count.
        if hazard := self._hazards.get(places):
            self._hazards[places] = replace(hazard, count=hazard.count + 1)
        elif len(self._hazards) < MOST_HAZARDS:
            run = ""
            if launch:
                run = f"run {launch.order} of {launch.kernel} on context {launch.context.slot}"
            self._hazards[places] = Hazard(kind, subject, *key, run, first, later)
