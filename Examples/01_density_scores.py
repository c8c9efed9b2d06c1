"""Lung volume and density scores in Python: from an image to a table.

Run it as it is, with a digital phantom chest, or with the path of a CT of your own:
``python Examples/01_density_scores.py [CT]``.
"""

from __future__ import annotations

import sys
from pathlib import Path

from lungperfusion.analysis.lungs import analyse_lungs
from lungperfusion.analysis.regions import find_regions
from lungperfusion.io import read_ct
from lungperfusion.phantoms import KINDS
from lungperfusion.terms import LUNGS, MEASURES, Region, title

REGIONS = (Region.LUNGS, *LUNGS)
SHOWN = ("tlv", "mld", "ggo", "laa_950")


def main() -> None:
    """Measure one CT and print a few of its scores."""
    ct = read_ct(Path(sys.argv[1])).volume if sys.argv[1:] else KINDS["small"]((3.0, 3.0, 3.0)).ct

    analysis = analyse_lungs(ct, find_regions(ct), pictures=False)

    values = {(entry.measure, entry.region): entry for entry in analysis.measurements}
    print(f"{'':32}" + "".join(f"{title(region):>14}" for region in REGIONS))
    for measure in SHOWN:
        unit = MEASURES[measure].unit
        row = "".join(f"{values[measure, region].value:14.4g}" for region in REGIONS)
        print(f"{MEASURES[measure].title + ', ' + unit:32}{row}")
    for gate in analysis.gates:
        if gate.verdict != "pass":
            print(f"{gate.verdict}: {gate.message}")


if __name__ == "__main__":
    main()
