"""Settings of the V/Q analysis, and what it is compared with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from lungperfusion.results.vq_tables import Ratings
from lungperfusion.terms.vq import LOW_SHARE
from lungperfusion.volume import Volume
from lungperfusion.vq import collateral, defects
from lungperfusion.vq.classes import HealthyBins, Thresholds
from lungperfusion.vq.measured import MeasuredMap
from lungperfusion.vq.model import LogisticModel
from lungperfusion.vq.perfusion import WEIGHTS, Surrogate
from lungperfusion.vq.ventilation import DEFAULT_METHOD, VentilationMethod

Grid = Literal["expiration", "inspiration"]


@dataclass(frozen=True, kw_only=True, slots=True)
class VqOptions:
    """Settings of the analysis."""

    ventilation: VentilationMethod = DEFAULT_METHOD
    perfusion: Mapping[Surrogate, float] | None = None
    """Exponents of the surrogates; None for those of `lungperfusion.vq.perfusion.WEIGHTS`."""
    low_ventilation: float = LOW_SHARE
    low_perfusion: float = LOW_SHARE
    healthy: HealthyBins | None = None
    """Bins of healthy people's values: the lowest ones then say what is low."""
    grid: Grid = "expiration"
    """Scan whose grid maps and label maps are written on."""
    slide_lobes: bool = False
    """Whether lobes slide along the fissures, where both scans have lobes.

    Off: it needs lobes that agree between the scans, and costs accuracy where nothing slid.
    """
    collateral_model: LogisticModel | None = None
    """Trained model of collateral ventilation."""
    defect_model: LogisticModel | None = None
    """Trained model of perfusion defects; None for the one that comes with this program."""

    def __post_init__(self) -> None:
        """Refuse models that were trained for something else."""
        if self.collateral_model is not None:
            self.collateral_model.require_purpose(collateral.PURPOSE)
        if self.defect_model is not None:
            self.defect_model.require_purpose(defects.PURPOSE)

    @property
    def parameters(self) -> dict[str, Any]:
        """Settings for results.json."""
        return {
            "ventilation": self.ventilation,
            "perfusion_weights": dict(self.weights),
            "low_ventilation": self.thresholds.ventilation,
            "low_perfusion": self.thresholds.perfusion,
            "healthy_bins": None if self.healthy is None else asdict(self.healthy),
            "grid": self.grid,
            "slide_lobes": self.slide_lobes,
        }

    @property
    def weights(self) -> Mapping[Surrogate, float]:
        """Exponents of the surrogates of perfusion."""
        return self.perfusion or WEIGHTS

    @property
    def thresholds(self) -> Thresholds:
        """What counts as low."""
        if self.healthy is not None:
            return self.healthy.thresholds
        return Thresholds(ventilation=self.low_ventilation, perfusion=self.low_perfusion)

    @property
    def defect_score(self) -> str:
        """How the score of perfusion defects was fitted."""
        return "of the given model" if self.defect_model else "uncalibrated: fitted to phantoms"


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class Comparison:
    """What the maps are compared with."""

    reference: Volume | None = None
    """SPECT, iodine or gas image in the patient space of the expiratory CT."""
    kind: Literal["perfusion", "ventilation"] = "perfusion"
    """What the reference shows."""
    ratings: Ratings = field(default_factory=dict)
    """Perfusion ratings, 1 to 5, by reader and zone; compared with those derived from the map."""


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class Measured:
    """Measured maps to cross with those of CT."""

    perfusion: MeasuredMap | None = None
    ventilation: MeasuredMap | None = None


DEFAULT_OPTIONS = VqOptions()
NOT_MEASURED = Measured()
NO_COMPARISON = Comparison()
