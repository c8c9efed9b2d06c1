"""Volume and density measures of the lungs."""

from __future__ import annotations

from lungperfusion.terms.measures import Measure, Reference

_LETTER = "iodine perfusion letter, Table 1 footnote: normal values of the workstation used there"
_LETTER_COHORT = "normal range printed with a post-COVID-19 clinic cohort"
_AERATED = "over voxels below the lung density threshold (-200 HU)"

DENSITY_MEASURES = (
    Measure(
        id="tlv",
        title="Total lung volume",
        unit="L",
        formula="number of lung voxels x voxel volume; vessels inside, main airways outside",
        source=_LETTER,
        reference=Reference(5.060, 1.353, _LETTER_COHORT, _LETTER),
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
        formula="100 x volume (HU < -950) / volume of the region",
        source="Gevenois 1995, Am J Respir Crit Care Med 152:653 (inspiratory scan)",
    ),
    Measure(
        id="laa_950_without_noise",
        title="LAA-950, noise-corrected",
        unit="%",
        formula="100 x share below -950 HU of the densities from which Gaussian noise of the "
        "measured SD was deconvolved",
        source="this project; deconvolution: Richardson 1972, J Opt Soc Am 62:55, "
        "Lucy 1974, Astron J 79:745",
    ),
    Measure(
        id="laa_910",
        title="Low attenuation, LAA-910",
        unit="%",
        formula="100 x volume (HU < -910) / volume of the region",
        source="Muller 1988, Chest 94:782 (density mask)",
    ),
    Measure(
        id="laa_856",
        title="Low attenuation, LAA-856",
        unit="%",
        formula="100 x volume (HU < -856) / volume of the region",
        source="Schroeder 2013, AJR 201:W460 (gas trapping; meant for expiratory scans)",
    ),
    Measure(
        id="haa",
        title="High attenuation, HAA",
        unit="%",
        formula="100 x volume (-600 <= HU <= -250) / volume of the region",
        source="Lederer 2009, Am J Respir Crit Care Med 180:407",
    ),
    Measure(
        id="ggo",
        title="Ground-glass opacity",
        unit="%",
        formula="100 x volume (-700 <= HU < -200, vessels removed) / volume (HU < -200)",
        source="iodine perfusion letter (threshold of -200 HU); it does not print the lower bound, "
        "-700 HU is this project's default; its normal 3.9 +/- 0.58 % belongs to a definition that "
        "is not published (this one reads 0.2 % in clean lung), so values are not compared with it",
    ),
    Measure(
        id="consolidation_share",
        title="Consolidation",
        unit="%",
        formula="100 x volume (HU >= -200, vessels removed) / volume of the region",
        source="complement of the lung density threshold of the iodine perfusion letter",
    ),
)
