"""A small case to write reports of."""

from __future__ import annotations

import numpy as np
import pytest

from lungperfusion.density import measure_density, region_distributions
from lungperfusion.quality import Gate
from lungperfusion.regions import RegionSet
from lungperfusion.results.analysis import Analysis, Table
from lungperfusion.results.lung_sections import lung_sections
from lungperfusion.terms import LOBES, ZONES
from lungperfusion.volume import Geometry, Labelmap, Volume

PROVENANCE = {
    "software": "SlicerLungPerfusion",
    "version": "1.2.3",
    "python": "3.12.0",
    "libraries": {"numpy": "2.0"},
    "inputs": [{"role": "ct", "name": "scan <1>.nrrd", "sha256": "0123456789abcdef" * 4}],
}

GATES = (
    Gate(id="ratio", verdict="pass", message="Right to left lung volume is 1.1.", limit="0.8 to 2"),
    Gate(id="thickness", verdict="warn", message="Slices are 3 mm thick."),
    Gate(id="cut", verdict="fail", message="The lungs touch the edge of the scan field."),
    Gate(id="kernel", verdict="unknown", message="The file does not name the kernel."),
)
MANY_GATES = GATES + tuple(
    Gate(
        id=f"more{n}",
        verdict="pass",
        message=f"Check {n} found what it expected, -968 HU of -1000 HU, and says so at length.",
        limit="-1010 to -950 HU",
    )
    for n in range(8)
)


@pytest.fixture(scope="session")
def provenance() -> dict:
    return PROVENANCE


@pytest.fixture(scope="session")
def many_gates() -> tuple[Gate, ...]:
    """As many and as wordy as those of a real scan."""
    return MANY_GATES


@pytest.fixture(scope="session")
def analysis() -> Analysis:
    rng = np.random.default_rng(5)
    shape = (40, 48, 60)
    geometry = Geometry.axial(shape, (5.0, 5.0, 6.0), (150.0, 120.0, -100.0))
    k, j, i = np.indices(shape)
    labels = np.zeros(shape, np.uint8)
    for value, centre in ((2, 17), (1, 43)):
        inside = ((i - centre) / 12) ** 2 + ((j - 24) / 17) ** 2 + ((k - 20) / 18) ** 2 < 1
        labels[inside] = value
    body = ((i - 30) / 29) ** 2 + ((j - 24) / 23) ** 2 < 1
    hu = np.where(labels > 0, -860, np.where(body, 40, -1000)) + rng.normal(0, 25, shape)
    hu[(labels == 2) & (k < 12) & (j > 28)] += 350
    ct = Volume(np.rint(hu).astype(np.int16), geometry, "HU")
    lungs = Labelmap(labels, geometry, {1: "left_lung", 2: "right_lung"})
    zone = np.where(labels > 0, 1 + np.clip((38 - k) // 12, 0, 2) + 3 * (labels == 2), 0)
    names = {value + 1: str(region) for value, region in enumerate(ZONES)}
    zones = Labelmap(zone.astype(np.uint8), geometry, names)
    regions = RegionSet((lungs, zones), dict.fromkeys(LOBES, "no fissure visible"))
    return Analysis(
        module="lungs",
        measurements=measure_density(ct, regions),
        gates=GATES,
        warnings=("Spacing is uneven & was <resampled>.",),
        parameters={"ground_glass_from_hu": -700.0, "zones": "height", "lung_mask": None},
        tables={
            "opacities": Table(
                ("number", "side", "volume_ml"),
                tuple({"number": n, "side": "left", "volume_ml": 1.5 * n} for n in range(30)),
            ),
            "defects": Table(("number", "volume_ml"), ()),
        },
        sections=lung_sections(ct, lungs, region_distributions(ct, regions)),
    )
