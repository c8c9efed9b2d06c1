"""Pulmonary and bronchial flow by a fit of two inputs, each convolved with a residue function.

``C(t) = PF/6000 (PA * R1)(t - d) + BF/6000 (AO * R2)(t)`` with flows of 0 or more in mL/min per
100 mL: what blood of the pulmonary trunk and of the aorta brings into the tissue stays there for
the residue R (Meier 1954, J Appl Physiol 6:731).  R is a sigmoid or an exponential, 1 at first,
with a mean transit time.  For every pair of kernels on a grid the two flows follow in closed form;
the pair with the smallest residual is taken.  Intervals are those of the profile likelihood
over all pairs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.stats import f as f_distribution

Curve = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernels:
    """Residue functions that are tried; all pairs of a pulmonary and a bronchial one."""

    transit_s: tuple[float, ...]
    """Pulmonary means."""
    delay_s: tuple[float, ...]
    """From the pulmonary trunk to the tissue."""
    width_shares: tuple[float, ...]
    """Width of the sigmoid as a share of its mean; 0 for an exponential.  The first is taken unless
    another one fits significantly better."""
    bronchial_transit_s: tuple[float, ...] = (4.0, 6.0, 8.0, 10.0)


def _steps(first: float, last: float, step: float) -> tuple[float, ...]:
    return tuple(float(x) for x in np.arange(first, last + step / 2, step))


REGION_KERNELS = Kernels(
    transit_s=_steps(2.0, 10.0, 0.25),
    delay_s=_steps(0.0, 2.0, 0.25),
    width_shares=(1 / 6, 1 / 3, 0),
)
"""For curves of regions, whose noise is small: with sigmoids alone an exponential tissue of index
95 % gets 68 %, and the interval of a transit time between two steps of 0.5 s misses the truth; with
these the mean errors of eight tissues at 0.5 HU of noise stay within 6 points (docs/dynamic.md).
Mean transit times are 5.9 +/- 1.8 s in healthy lungs (dynamic perfusion meta-analysis)."""

VOXEL_KERNELS = Kernels(
    transit_s=_steps(2.0, 10.0, 1.0),
    delay_s=(0.0, 1.0, 2.0),
    width_shares=(1 / 6,),
    bronchial_transit_s=(6.0, 10.0),
)
"""For maps: at the noise of voxels exponentials follow it, and flows scatter four times as much."""

PER_MINUTE_100_ML = 6000.0
"""Seconds in a minute times 100 mL."""
FINE_S = 0.1
"""Step of the convolutions, well below that of the frames."""
MIDDLE_ROUNDS = 20
"""Fixed-point steps to the middle of a sigmoid; they converge after five."""
CONFIDENCE = 0.95
SYSTEMATIC_HU = 0.5
"""Error of a curve that noise does not tell: on the phantom alignment leaves 0.3 to 0.5 HU in the
curves of lobes.  Smaller residuals are no more certain."""
PARAMETERS = 5
"""Two flows, two transit times, one delay."""
MOST_FLOWS, FLOW_STEPS, INDEX_STEPS = 4.0, 241, 101
"""Flows of up to so many times the fitted one are asked, in so many steps; and indices."""
_CHUNK = 16_384


@dataclass(frozen=True, eq=False, kw_only=True)
class FlowFit:
    """What the fit gives for each of N curves; arrays of shape (N,)."""

    pulmonary_flow: Curve
    """mL/min per 100 mL."""
    bronchial_flow: Curve
    """mL/min per 100 mL; NaN without an aorta."""
    transit_s: Curve
    """Mean of the pulmonary residue."""
    bronchial_transit_s: Curve
    delay_s: Curve
    residual: Curve
    """Root of the mean squared residual, HU."""
    modelled: NDArray[np.float64]
    """Fitted curves, shape (N, frames), HU."""

    @property
    def perfusion_index(self) -> Curve:
        """Pulmonary share of the flow, 0 to 1; NaN where there is none."""
        total = self.pulmonary_flow + self.bronchial_flow
        return np.divide(
            self.pulmonary_flow, total, out=np.full_like(total, np.nan), where=total > 0
        )

    @property
    def blood_volume(self) -> Curve:
        """Blood of both circulations, mL per 100 mL."""
        bronchial = np.nan_to_num(self.bronchial_flow * self.bronchial_transit_s)
        return (self.pulmonary_flow * self.transit_s + bronchial) / 60


@dataclass(frozen=True, slots=True)
class Interval:
    """Values that the data do not speak against."""

    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Intervals:
    """Profile-likelihood intervals of one curve."""

    pulmonary_flow: Interval
    bronchial_flow: Interval
    perfusion_index: Interval


@dataclass(frozen=True, eq=False)
class TwoInputModel:
    """Responses of tissue with a flow of 1 mL/min per 100 mL, for every kernel on the grid."""

    pulmonary: NDArray[np.float64]
    """Shape (kernels, frames), HU."""
    transit_s: Curve
    delay_s: Curve
    family: NDArray[np.intp]
    """Number of the width share of each pulmonary kernel."""
    bronchial: NDArray[np.float64]
    """Shape (kernels, frames), HU; no row without an aorta."""
    bronchial_transit_s: Curve
    weights: Curve
    """What each frame counts, shape (frames,); their mean is 1."""

    @classmethod
    def of(
        cls,
        times_s: Curve,
        artery_hu: Curve,
        aorta_hu: Curve | None,
        kernels: Kernels = REGION_KERNELS,
        weights: Curve | None = None,
    ) -> TwoInputModel:
        """Convolve the inputs with all kernels.

        Parameters
        ----------
        times_s
            Of the frames, ascending, any steps.
        artery_hu, aorta_hu
            Enhancement of the pulmonary trunk and of the aorta in the frames; without an aorta
            there is pulmonary flow alone.
        kernels
            Residue functions to try.
        weights
            What each frame counts; None for all alike.

        """
        fine, artery = _driven(times_s, artery_hu)
        pulmonary, transit, delays, families = [], [], [], []
        for mean in kernels.transit_s:
            for family, width in enumerate(kernels.width_shares):
                held = _convolved(artery, residue(fine - fine[0], mean, width))
                for delay in kernels.delay_s:
                    pulmonary.append(np.interp(times_s - delay, fine, held, left=0.0))
                    transit.append(mean)
                    delays.append(delay)
                    families.append(family)
        means = () if aorta_hu is None else kernels.bronchial_transit_s
        bronchial = []
        if aorta_hu is not None:
            _, aorta = _driven(times_s, aorta_hu)
            for mean in means:
                held = _convolved(aorta, residue(fine - fine[0], mean, 1 / 6))
                bronchial.append(np.interp(times_s, fine, held))
        return cls(
            np.array(pulmonary),
            np.array(transit),
            np.array(delays),
            np.array(families),
            np.array(bronchial).reshape(len(means), times_s.size),
            np.array(means),
            np.ones(times_s.size) if weights is None else weights / weights.mean(),
        )

    def fit(self, curves_hu: NDArray[np.floating]) -> FlowFit:
        """Fit N curves, shape (N, frames)."""
        curves = np.asarray(curves_hu, np.float64)
        weighted = self._weighted()
        root = np.sqrt(self.weights)
        starts = range(0, len(curves), _CHUNK)
        parts = [weighted._fit(curves[n : n + _CHUNK] * root) for n in starts]
        flows, best = (np.concatenate([part[n] for part in parts], axis=-1) for n in (0, 1))
        one, two = best
        modelled = flows[0][:, None] * self.pulmonary[one]
        nowhere = np.full(len(curves), np.nan)
        if len(self.bronchial):
            modelled = modelled + flows[1][:, None] * self.bronchial[two]
        return FlowFit(
            pulmonary_flow=flows[0],
            bronchial_flow=flows[1] if len(self.bronchial) else nowhere,
            transit_s=self.transit_s[one],
            bronchial_transit_s=self.bronchial_transit_s[two] if len(self.bronchial) else nowhere,
            delay_s=self.delay_s[one],
            residual=np.sqrt(np.mean(self.weights * (curves - modelled) ** 2, axis=1)),
            modelled=modelled,
        )

    def _weighted(self) -> TwoInputModel:
        """Responses times the root of the weights, so that plain squares are weighted ones."""
        root = np.sqrt(self.weights)
        return replace(self, pulmonary=self.pulmonary * root, bronchial=self.bronchial * root)

    def _fit(self, curves: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
        """Flows and kernels, shapes (2, N)."""
        found = [
            self._fit_family(curves, np.flatnonzero(self.family == family))
            for family in range(int(self.family.max()) + 1)
        ]
        flows, kernels, gain = found[0]
        square = (curves**2).sum(axis=1)
        free = max(1, curves.shape[1] - PARAMETERS)
        least = square - gain - _margin(square - gain, free)  # what another family has to reach
        for other_flows, other_kernels, other_gain in found[1:]:
            here = square - other_gain < np.minimum(least, square - gain)
            flows[:, here], kernels[:, here] = other_flows[:, here], other_kernels[:, here]
            gain = np.where(here, other_gain, gain)
        return flows, kernels

    def _fit_family(
        self, curves: NDArray[np.float64], rows: NDArray[np.intp]
    ) -> tuple[NDArray[np.float64], NDArray[np.intp], Curve]:
        """Best flows and kernels among some pulmonary kernels, and the square they explain."""
        count = len(curves)
        flows, kernels = np.zeros((2, count)), np.zeros((2, count), np.intp)
        gain = np.full(count, -np.inf)
        ahead = curves @ self.pulmonary.T
        power = (self.pulmonary**2).sum(axis=1)
        beside = curves @ self.bronchial.T
        beside_power = (self.bronchial**2).sum(axis=1)
        common = self.pulmonary @ self.bronchial.T
        for one in rows:
            for two in range(max(1, len(self.bronchial))):
                if len(self.bronchial):
                    found = _two_flows(
                        ahead[:, one], beside[:, two], power[one : one + 1],
                        beside_power[two : two + 1], common[one, two : two + 1],
                    )  # fmt: skip
                    better = found[0] * ahead[:, one] + found[1] * beside[:, two]
                else:
                    found = np.stack([np.maximum(ahead[:, one] / power[one], 0), np.zeros(count)])
                    better = found[0] * ahead[:, one]
                here = better > gain
                gain[here], flows[:, here] = better[here], found[:, here]
                kernels[:, here] = [[one], [two]]
        return flows, kernels, gain

    def intervals(self, curve_hu: Curve) -> Intervals:
        """Intervals of one curve: flows and indices whose best fit is not significantly worse.

        ``RSS <= RSS_min + s^2 F(1, n - p)`` with the variance s^2 of the residual
        (Bates 1988, Nonlinear Regression Analysis).
        """
        return self._weighted()._intervals(np.asarray(curve_hu, np.float64) * np.sqrt(self.weights))

    def _intervals(self, curve: Curve) -> Intervals:
        square, free = float(curve @ curve), max(1, curve.size - PARAMETERS)
        ahead, power = self.pulmonary @ curve, (self.pulmonary**2).sum(axis=1)
        if not len(self.bronchial):
            return self._one_input(square, free, ahead, power)
        beside, beside_power = self.bronchial @ curve, (self.bronchial**2).sum(axis=1)
        pairs = np.broadcast_arrays(
            ahead[:, None], beside[None], power[:, None], beside_power[None],
            self.pulmonary @ self.bronchial.T,
        )  # fmt: skip
        one, two = _two_flows(*pairs)
        rss = square - one * pairs[0] - two * pairs[1]
        limit = float(rss.min() + _margin(float(rss.min()), free))
        near = rss <= limit  # no other pair can reach below the limit
        ahead, beside, power, beside_power, common = (part[near] for part in pairs)
        best = np.unravel_index(int(rss.argmin()), rss.shape)
        grid = np.linspace(0, MOST_FLOWS * max(float(one[best] + two[best]), 1.0), FLOW_STEPS)
        index = np.linspace(0, 1, INDEX_STEPS)
        share = index[:, None]
        along = share * ahead + (1 - share) * beside
        size = share**2 * power + 2 * share * (1 - share) * common + (1 - share) ** 2 * beside_power
        shared = (square - np.maximum(along, 0) ** 2 / size).min(axis=1)
        first = _profile(grid[:, None], power, beside_power, common, ahead, beside)
        second = _profile(grid[:, None], beside_power, power, common, beside, ahead)
        return Intervals(
            pulmonary_flow=_within(grid, square + first, limit),
            bronchial_flow=_within(grid, square + second, limit),
            perfusion_index=_within(index, shared, limit),
        )

    @staticmethod
    def _one_input(square: float, free: int, ahead: Curve, power: Curve) -> Intervals:
        """Interval of pulmonary flow without an aorta."""
        flow = np.maximum(ahead / power, 0)
        least = float((square - flow * ahead).min())
        grid = np.linspace(0, MOST_FLOWS * max(float(flow.max()), 1.0), FLOW_STEPS)
        rss = square - 2 * grid[:, None] * ahead + grid[:, None] ** 2 * power
        none = Interval(np.nan, np.nan)
        return Intervals(
            pulmonary_flow=_within(grid, rss.min(axis=1), float(least + _margin(least, free))),
            bronchial_flow=none,
            perfusion_index=none,
        )


def _margin(least: NDArray[np.float64] | float, free: int) -> NDArray[np.float64]:
    """By how much a residual square must exceed the least one to be significantly worse."""
    variance = np.maximum(np.maximum(least, 0) / free, SYSTEMATIC_HU**2)
    return np.asarray(variance * f_distribution.ppf(CONFIDENCE, 1, free))


def _two_flows(
    ahead: Curve, beside: Curve, power: Curve, beside_power: Curve, common: Curve
) -> NDArray[np.float64]:
    """Least squares of two flows, neither below 0, from the normal equations."""
    determinant = power * beside_power - common**2
    one = (beside_power * ahead - common * beside) / determinant
    two = (power * beside - common * ahead) / determinant
    alone, other = np.maximum(ahead / power, 0), np.maximum(beside / beside_power, 0)
    one, two = np.where(two < 0, alone, one), np.where(two < 0, 0, two)
    return np.stack([np.where(one < 0, 0, one), np.where(one < 0, other, two)])


def _profile(
    flow: Curve, power: Curve, beside_power: Curve, common: Curve, ahead: Curve, beside: Curve
) -> Curve:
    """Least residual for each flow, over pairs and the other flow, less the curve's square."""
    other = np.maximum((beside - flow * common) / beside_power, 0)
    rss = flow**2 * power - 2 * flow * ahead - 2 * other * beside
    rss = rss + 2 * flow * other * common + other**2 * beside_power
    return np.asarray(rss.min(axis=1))


def _within(grid: Curve, rss: Curve, limit: float) -> Interval:
    """Take the steps on either side of what lies below the limit, or of the best value."""
    inside = np.flatnonzero(rss <= max(limit, float(rss.min())))
    low, high = max(0, inside[0] - 1), min(grid.size - 1, inside[-1] + 1)
    return Interval(float(grid[low]), float(grid[high]))


def _driven(times_s: Curve, input_hu: Curve) -> tuple[Curve, Curve]:
    """Interpolate an input between its frames: fine times, and enhancement there."""
    fine = np.arange(times_s[0], times_s[-1] + FINE_S, FINE_S)
    return fine, CubicSpline(times_s, input_hu)(np.minimum(fine, times_s[-1]))


def _convolved(driven: Curve, kernel: Curve) -> Curve:
    """Tissue with a flow of 1 mL/min per 100 mL, by trapezia."""
    weights = kernel * (FINE_S / PER_MINUTE_100_ML)
    weights[0] /= 2
    size = 2 * driven.size
    product = np.fft.rfft(driven, size) * np.fft.rfft(weights, size)
    return np.asarray(np.fft.irfft(product, size)[: driven.size])


def residue(at_s: Curve, mean_s: float, width_share: float) -> Curve:
    """Share of blood that is still in the tissue after each time: 1 at first, with this mean.

    A sigmoid ``1 / (1 + exp((t - c) / w))`` with ``w`` a share of the mean, or an exponential.
    The middle c of the sigmoid is such that its area is the mean, after ``R(0) = 1``.
    """
    if width_share == 0:
        return np.asarray(np.exp(-at_s / mean_s))
    width = width_share * mean_s
    middle = mean_s
    for _ in range(MIDDLE_ROUNDS):  # area: w (1 + e^(-c/w)) ln(1 + e^(c/w)) = mean
        area = width * (1 + np.exp(-middle / width)) * np.log1p(np.exp(middle / width))
        middle -= area - mean_s
    curve = 1 / (1 + np.exp((at_s - middle) / width))
    return np.asarray(curve / curve[0])
