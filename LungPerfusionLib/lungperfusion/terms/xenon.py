"""Measures, reference sets and published ranges of hyperpolarised 129Xe MRI.

Limits and constants marked "open pipeline" are those of the gas exchange pipeline of the 129Xe MRI
Clinical Trials Consortium, as its source had them in 08/2026.  They hold for one field
strength, flip angle and repetition time: a `ReferenceSet` can be replaced by a file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from lungperfusion.terms.measures import Measure

_PIPELINE = "open pipeline of the 129Xe MRI Clinical Trials Consortium"
_OWN = "this project; docs/xenon.md"

# ------------------------------------------------------------------------------- reference sets

VENTILATION_LIMITS: Mapping[tuple[str, bool], tuple[float, ...]] = MappingProxyType(
    {
        ("percentile", True): (0.3891, 0.5753, 0.7203, 0.8440, 0.9539),
        ("mean", True): (0.5656, 0.8138, 1.0138, 1.1871, 1.3428),
        ("percentile", False): (0.1399, 0.2848, 0.4683, 0.6868, 0.9377),
        ("mean", False): (0.3307, 0.5989, 0.9537, 1.3982, 1.9348),
    }
)
"""Limits of the six ventilation classes by what the image is divided by (its 99th percentile or its
mean) and whether its bias field was corrected (open pipeline)."""

VENTILATION_DEFECT_SHARE = 0.6
"""Ventilation below 60 % of the mean of the lungs is a defect in the defect percent in common use.

The open pipeline's own mean-anchored limit is 55 %."""


@dataclass(frozen=True, kw_only=True)
class ReferenceSet:
    """What healthy people have: limits of classes and the ratio RBC:membrane."""

    name: str
    rbc_gas: tuple[float, ...]
    """Five limits of RBC:gas as a fraction, lowest first; below the first is a defect, below the
    second low, from the last on high."""
    membrane_gas: tuple[float, ...]
    """Seven limits of membrane:gas; the three highest classes are high."""
    ventilation: Mapping[tuple[str, bool], tuple[float, ...]] = field(
        default_factory=lambda: VENTILATION_LIMITS
    )
    rbc_membrane: tuple[float, float]
    """Mean and standard deviation of RBC:membrane."""
    source: str
    healthy_means: tuple[float, float] = (0.0, 0.0)
    """Mean membrane:gas and RBC:gas that the estimate of KCO divides by; 0 where not known."""


_HEALTHY_MEMBRANE, _HEALTHY_RBC = 0.0089, 0.00455
_FACTORS_208 = (0.918, 1.031)
"""Open pipeline: the healthy means at 218 ppm are those at 208 ppm by these factors."""

REFERENCE_SETS: Mapping[str, ReferenceSet] = MappingProxyType(
    {
        "218": ReferenceSet(
            name="218 ppm",
            rbc_gas=(0.001393, 0.002891, 0.004772, 0.006991, 0.009518),
            membrane_gas=(0.004881, 0.006522, 0.008603, 0.011216, 0.014466, 0.018471, 0.023370),
            rbc_membrane=(0.55, 0.12),
            source=_PIPELINE,
            healthy_means=(_HEALTHY_MEMBRANE, _HEALTHY_RBC),
        ),
        "208": ReferenceSet(
            name="208 ppm",
            rbc_gas=(0.001351, 0.002804, 0.004629, 0.006781, 0.009232),
            membrane_gas=(0.005320, 0.007108, 0.009377, 0.012224, 0.015766, 0.020132, 0.025471),
            rbc_membrane=(0.49, 0.11),
            source=f"{_PIPELINE}; Leewiwatwong 2025",
            healthy_means=(
                _HEALTHY_MEMBRANE / _FACTORS_208[0],
                _HEALTHY_RBC / _FACTORS_208[1],
            ),
        ),
    }
)
"""Healthy people by the frequency that excites dissolved xenon, in ppm from that of the gas."""


def reference_at(frequency_ppm: float | None) -> str:
    """Name the reference set for a frequency; where none is known, that of most publications.

    Examples
    --------
    >>> reference_at(208.2), reference_at(217.9), reference_at(None)
    ('208', '218', '218')

    """
    return "208" if frequency_ppm is not None and 206 <= frequency_ppm <= 210 else "218"


MAPS = ("rbc_gas", "membrane_gas", "ventilation")
"""What gas transfer is measured on, besides the mask."""

IMAGE_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "rbc_gas": "Xenon RBC to gas",
        "membrane_gas": "Xenon membrane to gas",
        "ventilation": "Xenon ventilation",
        "lungs": "Xenon lungs",
        "statistics": "Xenon statistics",
    }
)
"""What a viewer calls the parts of a xenon MRI; nothing of the patient is in it."""

RBC_MEMBRANE_BY_AGE = (0.6476, -0.00443, 0.1202)
"""Expected RBC:membrane: constant, per year of age, and for men (open pipeline; it does not say for
which frequency)."""

HEALTHY_SHARES: Mapping[str, float] = MappingProxyType(
    {"defect": 0.0215, "low": 0.1359, "high": 0.1574, "membrane_high": 0.0228}
)
"""Shares of healthy lungs in the classes (open pipeline; the tails of a normal distribution)."""


@dataclass(frozen=True, kw_only=True)
class Published:
    """One published group to lie beside a patient's value."""

    measure: str
    group: str
    count: int | None
    mean: float
    sd: float
    source: str


PUBLISHED: tuple[Published, ...] = (
    Published(
        measure="xe_rbc_m", group="controls", count=13, mean=0.45, sd=0.07, source="Grist 2022"
    ),
    Published(
        measure="xe_rbc_m",
        group="long COVID, never in hospital",
        count=11,
        mean=0.37,
        sd=0.10,
        source="Grist 2022",
    ),
    Published(
        measure="xe_rbc_m",
        group="after COVID-19 in hospital",
        count=12,
        mean=0.31,
        sd=0.10,
        source="Grist 2022",
    ),
    Published(
        measure="xe_rbc_m",
        group="young healthy people, corrected for haemoglobin",
        count=18,
        mean=0.589,
        sd=0.083,
        source="Bechtel 2023",
    ),
    Published(
        measure="xe_rbc_m",
        group="healthy people of 18 to 30 years, three scanners, 208 ppm",
        count=None,
        mean=0.49,
        sd=0.11,
        source="Leewiwatwong 2025",
    ),
    Published(
        measure="xe_rbc_gas",
        group="healthy people of 18 to 30 years, three scanners, 208 ppm",
        count=None,
        mean=0.48,
        sd=0.20,
        source="Leewiwatwong 2025",
    ),
    Published(
        measure="xe_membrane_gas",
        group="healthy people of 18 to 30 years, three scanners, 208 ppm",
        count=None,
        mean=0.97,
        sd=0.27,
        source="Leewiwatwong 2025",
    ),
)
"""Groups with mean and standard deviation in the unit of the measure; None where the count is not
known to this project."""

TRANSFER_FACTOR_GROUPS: tuple[Published, ...] = (
    Published(
        measure="dlco_pct",
        group="long COVID, never in hospital",
        count=11,
        mean=76.0,
        sd=8.0,
        source="Grist 2022",
    ),
    Published(
        measure="dlco_pct",
        group="after COVID-19 in hospital",
        count=12,
        mean=86.0,
        sd=8.0,
        source="Grist 2022",
    ),
)
"""TLco in % of predicted: the 76 and 86 that the gas transfer atlas quotes."""

TRANSFER_FACTOR_READING = (
    "76 against 86 compares two groups of patients, not patients with healthy people: those never "
    "in hospital with those after hospital (p = 0.04). Later, larger cohorts found most values "
    "normal; a TLco beside these groups places a patient among them and says no more."
)
"""What the two figures of the gas transfer atlas mean."""

OPEN_QUESTIONS = (
    "Whether the defect sits primarily in the membrane, the small vessels, or the blood.",
    "Whether it is the same in everyone, and whether it improves as people recover.",
)
"""Open questions of the gas transfer atlas that bear on a pattern."""

# ------------------------------------------------------------------------- physics of the ratios

T2STAR_GAS_MS = 18.0
T2STAR_RBC_3T_MS = 1.044575
T2STAR_MEMBRANE_3T_MS = 0.988588
"""Of the open pipeline; those of dissolved xenon scale with 3 T over the field strength."""

HAEMOGLOBIN_NORMAL_G_DL = 14.0
HAEMOGLOBIN_RBC = 0.288
HAEMOGLOBIN_MEMBRANE = (0.029, 0.011)
"""Coefficients of the correction for haemoglobin: Bechtel 2023."""

VOLUME_SLOPE_RBC = -0.15963
VOLUME_SLOPE_MEMBRANE = -0.38665
"""Slope of the ratios over lung volume (open pipeline)."""

KCO_MEMBRANE, KCO_RBC = 22.6, 7.42
ALVEOLAR_VOLUME_FACTOR = 1.58
"""Of the open pipeline's estimate of KCO in mL/min/mmHg/L, and of alveolar volume from that of the
ventilated lung in the image."""

# -------------------------------------------------------------------------------- CT of the join

NORMAL_TISSUE_HU = (-950.0, -700.0)
"""Aerated lung without emphysema or opacity at full inspiration, as `lungperfusion.density` parts
it."""

NORMAL_TISSUE_SHARE = 0.8
"""A voxel of the MRI has normal CT if this share of its lung is normal (docs/xenon.md)."""

MISMATCH_CLASSES = (
    "xe_both_normal",
    "xe_transfer_low_ct_normal",
    "xe_both_abnormal",
    "xe_ct_abnormal_transfer_kept",
)
"""Label names of the classes of gas transfer and CT, values 1 to 4 in this order."""

# ------------------------------------------------------------------------------------- measures

_CLASSES = "classes of healthy people, see parameters"
_WEIGHTED = "voxels weighted with the share of the region in them"


def _share(name: str, words: str, what: str) -> Measure:
    return Measure(
        id=f"xe_{name}_share",
        title=words,
        unit="%",
        formula=f"100 x {what} / volume of the region with gas; {_WEIGHTED}; {_CLASSES}",
        source=_PIPELINE,
    )


def _pattern(name: str, words: str, what: str) -> Measure:
    return Measure(
        id=f"xe_{name}_share",
        title=words,
        unit="%",
        formula=f"100 x volume with {what} / volume with gas and a judged CT; RBC:gas low: the two "
        "lowest classes",
        source=_OWN,
    )


XENON_MEASURES = (
    Measure(
        id="xe_volume",
        title="Volume on xenon MRI",
        unit="mL",
        formula="sum of the shares of the region in the voxels of the mask x voxel volume",
        source=_OWN,
    ),
    Measure(
        id="xe_effective_voxels",
        title="Effective number of xenon MRI voxels",
        unit="1",
        formula="sum of the shares of the region in the voxels of the mask",
        source=_OWN,
        possible=(0.0, 1e8),
    ),
    Measure(
        id="xe_no_gas_share",
        title="Volume without gas",
        unit="%",
        formula="100 x volume without signal of the gas, where gas transfer cannot be measured / "
        "volume of the region",
        source=_OWN,
    ),
    Measure(
        id="xe_ventilation",
        title="Ventilation on xenon MRI over its mean",
        unit="1",
        formula=f"mean signal of the gas over that of both lungs; {_WEIGHTED}",
        source=_OWN,
        possible=(0.0, 100.0),
    ),
    Measure(
        id="xe_ventilation_share",
        title="Ventilation on xenon MRI, share of both lungs",
        unit="%",
        formula="100 x signal of the gas of the region / signal of both lungs",
        source=_OWN,
    ),
    Measure(
        id="xe_vdp",
        title="Ventilation defect percent on xenon MRI",
        unit="%",
        formula="100 x volume with ventilation below 60 % of the mean of both lungs / volume",
        source="ventilation defect percent in use for hyperpolarised gas",
    ),
    _share("ventilation_defect", "Ventilation defect on xenon MRI", "volume of the lowest class"),
    _share("ventilation_low", "Low ventilation on xenon MRI", "volume of the second class"),
    _share("ventilation_high", "High ventilation on xenon MRI", "volume of the highest class"),
    Measure(
        id="xe_rbc_gas",
        title="RBC:gas",
        unit="%",
        formula=f"100 x mean of xenon in red cells over that in gas; {_WEIGHTED}",
        source=_PIPELINE,
        possible=(-1.0, 5.0),
    ),
    Measure(
        id="xe_membrane_gas",
        title="Membrane:gas",
        unit="%",
        formula=f"100 x mean of xenon in membrane and plasma over that in gas; {_WEIGHTED}",
        source=_PIPELINE,
        possible=(-1.0, 10.0),
    ),
    Measure(
        id="xe_rbc_m",
        title="RBC:membrane",
        unit="1",
        formula="sum of RBC:gas / sum of membrane:gas of the same voxels",
        source=_PIPELINE,
        possible=(-1.0, 5.0),
    ),
    Measure(
        id="xe_rbc_m_sd",
        title="Spread of RBC:membrane between voxels",
        unit="1",
        formula="standard deviation of RBC:gas - RBC:membrane x membrane:gas, over the mean of "
        "membrane:gas",
        source=_OWN,
        possible=(0.0, 50.0),
    ),
    Measure(
        id="xe_rbc_m_z",
        title="z of RBC:membrane",
        unit="1",
        formula="(RBC:membrane - expected) / standard deviation of healthy people; expected by age "
        "and sex where given",
        source=_PIPELINE,
        possible=(-50.0, 50.0),
    ),
    _share("rbc_defect", "RBC:gas defect", "volume of the lowest class"),
    _share("rbc_low", "Low RBC:gas", "volume of the second class"),
    _share("rbc_impaired", "Impaired RBC:gas (defect or low)", "volume of the two lowest classes"),
    _share("rbc_high", "High RBC:gas", "volume of the highest class"),
    _share("membrane_defect", "Membrane:gas defect", "volume of the lowest class"),
    _share("membrane_low", "Low membrane:gas", "volume of the second class"),
    _share("membrane_high", "High membrane:gas", "volume of the three highest classes"),
    Measure(
        id="xe_ct_normal_share",
        title="Normal CT in the voxels of the xenon MRI",
        unit="%",
        formula="100 x volume with normal CT / volume with gas and a judged CT; normal: at least "
        "80 % of the lung outside vessels in the voxel",
        source=_OWN,
    ),
    _pattern("both_normal", "Gas transfer kept, CT normal", "RBC:gas not low and normal CT"),
    _pattern("transfer_low_ct_normal", "Gas transfer low, CT normal", "RBC:gas low and normal CT"),
    _pattern(
        "both_abnormal", "Gas transfer low, CT abnormal", "RBC:gas low and CT that is not normal"
    ),
    _pattern(
        "ct_abnormal_transfer_kept",
        "Gas transfer kept, CT abnormal",
        "RBC:gas not low and CT that is not normal",
    ),
    _pattern(
        "membrane_side",
        "Pattern of the membrane or microvascular side",
        "RBC:gas low and perfusion not low",
    ),
    _pattern("perfusion_side", "Pattern of the perfusion side", "RBC:gas low and perfusion low"),
    Measure(
        id="xe_kco_estimate",
        title="KCO, estimated from xenon MRI",
        unit="mL/min/mmHg/L",
        formula="1 / (1 / (22.6 m) + 1 / (7.42 r)); m, r: mean over mean of healthy people, m "
        "above 1 inverted",
        source=_PIPELINE,
        possible=(0.0, 20.0),
    ),
    Measure(
        id="xe_dlco_estimate",
        title="DLCO, estimated from xenon MRI",
        unit="mL/min/mmHg",
        formula="KCO estimate x 1.58 x volume of the mask x (1 - ventilation defect share)",
        source=_PIPELINE,
        possible=(0.0, 150.0),
    ),
)
"""Measures of the xenon command."""
