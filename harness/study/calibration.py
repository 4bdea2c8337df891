"""Fits the profile of a device to records of runs, with the model of a pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from harness.config.device import Simulator
from harness.errors import RequestError
from harness.results.record import Record
from harness.study.calibration_data import Run, guess, runs_of, values_of

Floats = NDArray[np.float64]

COSTS = (
    "write_fixed_ns",
    "read_fixed_ns",
    "sync_ns_per_mib",
    "launch_ns",
    "completion_ns",
    "alloc_ns",
    "chain_command_ns",
    "cold_start_ns",
)
"""Numbers of a profile that runs depend on, beside the execution of each kernel."""
LEVEL = 0.95
"""Confidence level of the uncertainties."""
LEAST_SINGULAR = 1e-3
"""Smallest singular value of the derivatives, each number's scaled to length 1, below which a
combination of numbers has no effect on the records."""
ROUNDING_NS = 1.0
"""Standard deviation of a time of virtual devices, which are whole nanoseconds."""
ROUNDS = 3
"""Fits, each with the noise that the residuals of the fit before it show."""
LEAST_FREEDOM = 0.5
"""Degrees of freedom from which residuals show a noise."""


@dataclass(frozen=True)
class Fitted:
    """One number of the profile. key: YAML key below `device`.

    uncertainty_ns: half width of its interval at LEVEL. start: its value in the start profile.
    """

    key: str
    value: int
    uncertainty: float
    start: int


@dataclass(frozen=True)
class Check:
    """A record and its prediction.

    what: the compared time, "total" or "median interval". is_seen: whether the fit used the record.
    ratios: measured / predicted by kind of time, as in `calibration_data.Run.measured`; of the
    total in any case.
    """

    record: Record
    what: str
    measured_ns: float
    predicted_ns: float
    is_seen: bool
    ratios: Mapping[str, float] = field(default_factory=dict)

    @property
    def residual_pct(self) -> float:
        """How much longer than predicted the record took."""
        return 100 * (self.measured_ns / self.predicted_ns - 1) if self.predicted_ns else 0.0


@dataclass(frozen=True)
class Calibration:
    """A fitted profile.

    kept: numbers on which no record depends, or that the user keeps. left_out: fitted records, each
    predicted by a profile that is fitted to the others. alone: fitted records without such a
    prediction, because no other one shows all numbers that they depend on.
    """

    numbers: tuple[Fitted, ...]
    kept: tuple[str, ...]
    checks: tuple[Check, ...]
    left_out: tuple[Check, ...] = ()
    alone: tuple[Record, ...] = ()


def calibrate(
    records: Sequence[Record],
    unseen: Sequence[Record],
    start: Simulator,
    keep: Sequence[str] = (),
    *,
    leave_out: bool = False,
) -> Calibration:
    """Fit the numbers of `start` that the records depend on, and predict all records.

    unseen: records that the fit does not use. keep: keys of numbers that do not change. leave_out:
    also predict each record by a fit to the others.
    RequestError for records that the model does not cover or that are of several devices, and if
    they do not identify a number.
    """
    runs = runs_of([*records, *unseen], start)
    seen = runs[: len(records)]
    kernels = dict.fromkeys(name for run in seen for name in run.kernels)
    keys = [*COSTS, *(f"exec_ns.{name}" for name in kernels)]
    for key in keep:
        if key not in keys:
            raise RequestError(f"--keep={key}: not fitted; allowed: {', '.join(keys)}")
    unknown = {name for run in runs for name in run.kernels} - {*kernels}
    if unknown:
        raise RequestError(f"--check: no fitted record runs {', '.join(sorted(unknown))}")
    fit = _Fit(seen, start, [key for key in keys if key not in keep])
    fit.run()
    left_out, alone = _left_out(fit, seen) if leave_out else ([], [])
    return Calibration(
        numbers=fit.numbers(),
        kept=tuple(key for key in keys if key not in fit.keys),
        checks=tuple(_check(run, fit.values(), run in seen) for run in runs),
        left_out=tuple(left_out),
        alone=tuple(alone),
    )


def _left_out(fit: _Fit, runs: Sequence[Run]) -> tuple[list[Check], list[Record]]:
    """Records predicted by fits without them, and those that no such fit predicts."""
    checks, alone = list[Check](), list[Record]()
    for run in runs:
        if numbers := fit.without(run):
            checks.append(_check(run, numbers, is_seen=False))
        else:
            alone.append(run.record)
    return checks, alone


def _check(run: Run, numbers: Mapping[str, int], is_seen: bool) -> Check:
    predicted = run.predict({key: np.array([value]) for key, value in numbers.items()})
    what = "interval" if "interval" in run.measured else "total"
    name = "median interval" if what == "interval" else "total"
    ratios = {
        kind: value / float(predicted[kind][0])
        for kind, value in {**run.measured, "total": run.total_ns}.items()
        if predicted[kind][0] > 0
    }
    return Check(run.record, name, run.measured[what], float(predicted[what][0]), is_seen, ratios)


class _Fit:
    """Weighted least squares; `keys` are the numbers that the records depend on."""

    def __init__(self, runs: Sequence[Run], start: Simulator, keys: Sequence[str]) -> None:
        self._runs, self._start = runs, start
        self._kinds = [kind for run in runs for kind in run.measured]
        self._measured = np.array([each for run in runs for each in run.measured.values()])
        noise = np.array([run.noise(kind) for run in runs for kind in run.measured])
        self._sigma = np.hypot(ROUNDING_NS, noise * self._measured)
        least = np.array([run.least_noise(kind) for run in runs for kind in run.measured])
        self._least = np.hypot(ROUNDING_NS, least * self._measured)
        self._freedom = len(self._measured)
        self._begin = guess(runs, start, keys)
        self.keys = list(keys)
        self._at = np.array([float(self._begin[key]) for key in keys])
        self._covariance: Floats = np.zeros((0, 0))
        self._steps: tuple[Floats, Floats] | None = None
        effects = np.abs(self._derivatives(self._at)).max(axis=0, initial=0.0)
        self.keys = [key for key, effect in zip(keys, effects, strict=True) if effect]
        self._at = np.array([float(self._begin[key]) for key in self.keys])

    def run(self) -> None:
        """Fit; RequestError if the records do not identify a number."""
        from scipy.optimize import least_squares

        for _ in range(ROUNDS):
            found = least_squares(
                lambda at: (self._predicted(at[:, None])[:, 0] - self._measured) / self._sigma,
                np.maximum(self._at, 1e-6),
                jac=lambda at: self._derivatives(at) / self._sigma[:, None],
                bounds=(0, np.inf),
                x_scale=np.maximum(self._at, 1.0),
            )
            self._at = found.x
            jacobian = self._derivatives(self._at) / self._sigma[:, None]
            self._check_identified(jacobian)
            self._covariance = np.linalg.inv(jacobian.T @ jacobian)
            self._weigh(found.fun, np.sum(jacobian @ self._covariance * jacobian, axis=1))
        jacobian = self._derivatives(self._at) / self._sigma[:, None]
        self._covariance = np.linalg.inv(jacobian.T @ jacobian)

    def without(self, left_out: Run) -> dict[str, int] | None:
        """The numbers by a fit without one run; None if they are then not identified.

        One Gauss-Newton step from the fit to all runs, with the noise of that fit: within its parts
        the model is linear in the numbers.
        """
        rows = np.array([run is not left_out for run in self._runs for _ in run.measured])
        if self._steps is None:
            residuals = (self._predicted(self._at[:, None])[:, 0] - self._measured) / self._sigma
            self._steps = self._derivatives(self._at) / self._sigma[:, None], residuals
        jacobian, residuals = (each[rows] for each in self._steps)
        lengths = np.linalg.norm(jacobian, axis=0)
        if len(jacobian) < len(lengths) or not np.all(lengths):
            return None
        if np.linalg.svd(jacobian / lengths)[1].min() < LEAST_SINGULAR:
            return None
        step = np.linalg.lstsq(jacobian / lengths, -residuals, rcond=None)[0] / lengths
        return self._rounded(np.maximum(self._at + step, 0))

    def _weigh(self, residuals: Floats, leverage: Floats) -> None:
        """Set the noise of each kind of time to what its residuals show.

        leverage: the share of each time that its own value decides; a kind has as many degrees of
        freedom as it has times, less those shares. A kind without any keeps the noise of before.
        """
        self._freedom = len(self._measured)
        for kind in set(self._kinds):
            own = np.array([each == kind for each in self._kinds])
            freedom = own.sum() - leverage[own].sum()
            if freedom < LEAST_FREEDOM:
                continue
            scale = float(np.sqrt(residuals[own] @ residuals[own] / freedom))
            self._sigma[own] = np.maximum(scale * self._sigma[own], self._least[own])
            self._freedom = min(self._freedom, max(1, round(freedom)))

    def _predicted(self, at: Floats) -> Floats:
        """Predictions of all measured times, (times, profiles); at: (numbers, profiles)."""
        numbers = dict(zip(self.keys, at, strict=True))
        rows = []
        for run in self._runs:
            predicted = run.predict(numbers)
            rows += [np.broadcast_to(predicted[kind], at.shape[1]) for kind in run.measured]
        return np.array(rows, float)

    def _derivatives(self, at: Floats) -> Floats:
        """Derivatives of all predictions, (times, numbers), all from one walk of each pass."""
        # Times by size are whole nanoseconds, so a small step would measure the rounding.
        shares = np.array([0.2 if key == "sync_ns_per_mib" else 0.01 for key in self.keys])
        steps = np.maximum(shares * at, 100.0)
        profiles = np.column_stack([at, at[:, None] + np.diag(steps)])
        predicted = self._predicted(profiles)
        derivatives: Floats = (predicted[:, 1:] - predicted[:, :1]) / steps
        return derivatives

    def _check_identified(self, jacobian: Floats) -> None:
        lengths = np.maximum(np.linalg.norm(jacobian, axis=0), 1e-300)
        values, rows = np.linalg.svd(jacobian / lengths)[1:]
        # Fewer times than numbers leave further combinations without effect.
        values = np.concatenate([values, np.zeros(len(rows) - len(values))])
        without_effect = rows[values < LEAST_SINGULAR]
        if not len(without_effect):
            return
        weights = np.linalg.norm(without_effect, axis=0)
        names = [key for key, weight in zip(self.keys, weights, strict=True) if weight > 0.1]
        free = len(without_effect)
        raise RequestError(
            f"device.{', device.'.join(names)}: not identifiable, these records show only "
            f"{len(names) - free} sums of these {len(names)} numbers; {_remedy(names)}, or keep "
            f"{free} of them with --keep=KEY"
        )

    def values(self) -> dict[str, int]:
        """The fitted numbers, rounded."""
        return self._rounded(self._at)

    def _rounded(self, at: Floats) -> dict[str, int]:
        return {key: round(float(each)) for key, each in zip(self.keys, at, strict=True)}

    def numbers(self) -> tuple[Fitted, ...]:
        """The fitted numbers with their uncertainties."""
        from scipy.stats import t

        factor = t.ppf((1 + LEVEL) / 2, self._freedom)
        deviations = np.sqrt(np.diag(self._covariance))
        starts = values_of(self._start, self.keys)
        return tuple(
            Fitted(key, value, max(1.0, float(factor * deviation)), int(starts.get(key, 0)))
            for (key, value), deviation in zip(self.values().items(), deviations, strict=True)
        )


def _remedy(names: Sequence[str]) -> str:
    """Which further records tell numbers apart."""
    remedies = []
    if "sync_ns_per_mib" in names:
        remedies.append("add a run with another strategy.batch")
    if "completion_ns" in names:
        remedies.append("add one with strategy=pipelined that the device limits")
    if sum(name.startswith("exec_ns.") for name in names) > 1:
        remedies.append("add runs of each kernel alone")
    return " and ".join(remedies) or "add runs with other strategies"
