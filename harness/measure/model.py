"""Predicts how long a pass takes, for one profile or for many at once (`harness.measure.walk`).

A cost is an integer, or an array with one value for each profile.
"""

from __future__ import annotations

from dataclasses import fields

import numpy as np

from harness.measure.pass_model import Ns, PassModel, PassTimes, taken
from harness.measure.walk import Walk

PROFILES_AT_ONCE = 8192
"""Profiles per walk: the arrays of a walk then fit the cache of a core."""


def pass_times(
    model: PassModel,
    idle_ns: Ns | None = None,
    is_cold: bool = False,
    with_intervals: bool = False,
    loaded: Ns | None = None,
) -> PassTimes:
    """The times of one pass, integers or (profiles,) int64.

    idle_ns: how long the device has been idle before the pass; None if it has executed nothing.
    is_cold: whether the contexts have executed nothing. with_intervals: return intervals_ns too.
    loaded: that of the pass before; None if no context has executed anything.
    """
    profiles = model.profiles or (len(idle_ns) if isinstance(idle_ns, np.ndarray) else 0)
    if not profiles:
        return Walk(model, idle_ns, is_cold, with_intervals, loaded=loaded).times()
    # An order that depends on the costs is walked for each profile on its own.
    parts: list[slice | int] = list(range(profiles))
    if model.is_ordered:
        starts = range(0, profiles, PROFILES_AT_ONCE)
        parts = [slice(start, start + PROFILES_AT_ONCE) for start in starts]
    pieces = []
    for part in parts:
        own_idle_ns, length = taken(idle_ns, part), _length(part, profiles)
        own = loaded[:, part] if isinstance(loaded, np.ndarray) else loaded
        walk = Walk(model.of(part), own_idle_ns, is_cold, with_intervals, length, own)
        pieces.append(walk.times())
    columns = {
        item.name: _joined([getattr(piece, item.name) for piece in pieces], model.is_ordered)
        for item in fields(PassTimes)
    }
    return PassTimes(**columns)


def _joined(values: list[Ns], are_arrays: bool) -> Ns:
    """The times of several walks as one array, whose last axis is the profile."""
    if values[0] is None:
        return None
    return np.concatenate(values, axis=-1) if are_arrays else np.array(values).T


def _length(part: slice | int, profiles: int) -> int:
    return len(range(profiles)[part]) if isinstance(part, slice) else 0
