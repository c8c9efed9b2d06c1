"""Volume and density measures of the lungs."""

from __future__ import annotations

from lungperfusion.terms.measures import Measure, Reference

AERATED_BELOW_HU = -200.0
"""Aerated lung lies strictly below: iodine perfusion letter (MLD and GGO %)."""

GROUND_GLASS_FROM_HU = -700.0
"""Lower bound of ground glass, included; the letter does not print one, -750 to -600 are in use."""

HIGH_ATTENUATION_HU = (-600.0, -250.0)
"""Both bounds included: Lederer 2009, Am J Respir Crit Care Med 180:407."""

EMPHYSEMA_BELOW_HU = -950.0
"""Inspiratory voxels strictly below: Gevenois 1995, Am J Respir Crit Care Med 152:653."""

LOW_DENSITY_BELOW_HU = -910.0
"""Strictly below, the density mask: Muller 1988, Chest 94:782."""

AIR_TRAPPING_BELOW_HU = -856.0
"""Expiratory voxels strictly below: Schroeder 2013, AJR 201:W460."""

REFERENCE_VOLUME_L = 5.060
"""Volume that the 15th percentile is adjusted to: mean normal TLV of the iodine perfusion letter.

Give the patient's predicted total lung capacity instead where sex and height are known.
"""

_LETTER = "iodine perfusion letter, Table 1 footnote: normal values of the workstation used there"
_LETTER_COHORT = "normal range printed with a post-COVID-19 clinic cohort"
_AERATED = f"over voxels below the lung density threshold ({AERATED_BELOW_HU:g} HU)"

DENSITY_MEASURES = (
    Measure(
        id="tlv",
        title="Total lung volume",
        unit="L",
        formula="number of lung voxels x voxel volume; vessels inside, main airways outside",
        source=_LETTER,
        reference=Reference(REFERENCE_VOLUME_L, 1.353, _LETTER_COHORT, _LETTER),
    ),
    Measure(
        id="air_volume",
        title="Air volume",
        unit="L",
        formula="sum of clip(-HU / 1000, 0, 1) x voxel volume",
        source="two-compartment model of air (-1000 HU) and tissue (0 HU)",
    ),
    Measure(
        id="tissue_volume",
        title="Tissue volume",
        unit="L",
        formula="total volume - air volume; tissue, blood and fluid",
        source="two-compartment model of air (-1000 HU) and tissue (0 HU)",
    ),
    Measure(
        id="air_share",
        title="Air share",
        unit="%",
        formula="100 x air volume / total volume",
        source="two-compartment model of air (-1000 HU) and tissue (0 HU)",
    ),
    Measure(
        id="lung_mass",
        title="Lung mass",
        unit="g",
        formula="sum of max(0, 1 + HU / 1000) g/mL x voxel volume",
        source="Mull 1984, AJR 143:1101 (density from CT numbers)",
    ),
    Measure(
        id="mld",
        title="Mean lung density",
        unit="HU",
        formula=f"mean HU {_AERATED}",
        source=_LETTER,
        reference=Reference(-839.6, 21.8, _LETTER_COHORT, _LETTER),
    ),
    Measure(
        id="median_density",
        title="Median lung density",
        unit="HU",
        formula=f"median HU {_AERATED}",
        source="same voxels as mean lung density",
    ),
    Measure(
        id="density_sd",
        title="Density SD",
        unit="HU",
        formula=f"square root of the second central moment of HU {_AERATED}",
        source="same voxels as mean lung density",
    ),
    Measure(
        id="skewness",
        title="Skewness of density",
        unit="1",
        formula=f"third central moment / SD^3 of HU {_AERATED}",
        source="Hartley 1994, J Appl Physiol 76:271 (density histogram features)",
    ),
    Measure(
        id="kurtosis",
        title="Kurtosis of density",
        unit="1",
        formula=f"fourth central moment / SD^4 - 3 of HU {_AERATED}; 0 for a normal distribution",
        source="Hartley 1994, J Appl Physiol 76:271 (density histogram features)",
    ),
    Measure(
        id="perc15",
        title="15th percentile of density",
        unit="HU",
        formula="HU below which 15 % of all lung voxels lie, linear between neighbours",
        source="Dirksen 1999, Am J Respir Crit Care Med 160:1468",
    ),
    Measure(
        id="perc15_adjusted",
        title="Perc15, volume-adjusted",
        unit="HU",
        formula="(perc15 + 1000) x volume of both lungs / reference volume - 1000",
        source="sponge model: Shaker 2004, Acta Radiol 45:417",
    ),
    Measure(
        id="laa_950",
        title="Low attenuation, LAA-950",
        unit="%",
        formula=f"100 x volume (HU < {EMPHYSEMA_BELOW_HU:g}) / volume of the region",
        source="Gevenois 1995, Am J Respir Crit Care Med 152:653 (inspiratory scan)",
    ),
    Measure(
        id="laa_950_without_noise",
        title="LAA-950, noise-corrected",
        unit="%",
        formula=f"100 x share below {EMPHYSEMA_BELOW_HU:g} HU of the densities from which Gaussian "
        "noise of the measured SD was deconvolved",
        source="this project; deconvolution: Richardson 1972, J Opt Soc Am 62:55, "
        "Lucy 1974, Astron J 79:745",
    ),
    Measure(
        id="laa_910",
        title="Low attenuation, LAA-910",
        unit="%",
        formula=f"100 x volume (HU < {LOW_DENSITY_BELOW_HU:g}) / volume of the region",
        source="Muller 1988, Chest 94:782 (density mask)",
    ),
    Measure(
        id="laa_856",
        title="Low attenuation, LAA-856",
        unit="%",
        formula=f"100 x volume (HU < {AIR_TRAPPING_BELOW_HU:g}) / volume of the region",
        source="Schroeder 2013, AJR 201:W460 (gas trapping; meant for expiratory scans)",
    ),
    Measure(
        id="haa",
        title="High attenuation, HAA",
        unit="%",
        formula=f"100 x volume ({HIGH_ATTENUATION_HU[0]:g} <= HU <= {HIGH_ATTENUATION_HU[1]:g}) / "
        "volume of the region",
        source="Lederer 2009, Am J Respir Crit Care Med 180:407",
    ),
    Measure(
        id="ggo",
        title="Ground-glass opacity",
        unit="%",
        formula=f"100 x volume ({GROUND_GLASS_FROM_HU:g} <= HU < {AERATED_BELOW_HU:g}, vessels "
        f"removed) / volume (HU < {AERATED_BELOW_HU:g})",
        source=f"iodine perfusion letter (threshold of {AERATED_BELOW_HU:g} HU); it does not print "
        f"the lower bound, {GROUND_GLASS_FROM_HU:g} HU is this project's default; its normal "
        "3.9 +/- 0.58 % belongs to a definition that is not published (this one reads 0.2 % in "
        "clean lung), so values are not compared with it",
    ),
    Measure(
        id="consolidation_share",
        title="Consolidation",
        unit="%",
        formula=f"100 x volume (HU >= {AERATED_BELOW_HU:g}, vessels removed) / volume of the "
        "region",
        source="complement of the lung density threshold of the iodine perfusion letter",
    ),
)
