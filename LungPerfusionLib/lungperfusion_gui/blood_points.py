"""Points that a reader places in the blood of great vessels; a ball around each is measured."""

from pathlib import Path

from lungperfusion import mrml
from lungperfusion.io import write_labelmap
from lungperfusion.iodine.trunk import ball_of_blood
from lungperfusion.terms import title
from lungperfusion_gui.marks import POINTS, Mark, placed

TRUNK, AORTA = "pulmonary_artery", "aorta"
"""IDs of the segments, as the command line knows them."""

MARKS = {
    TRUNK: Mark(f"blood.{TRUNK}", POINTS, title(TRUNK), colour=(0.2, 0.45, 0.9)),
    AORTA: Mark(f"blood.{AORTA}", POINTS, title(AORTA), colour=(0.9, 0.25, 0.2)),
}


def placed_in(study, names):
    """Places in RAS mm of the marks that were placed, by name."""
    return placed(study, {name: MARKS[name] for name in names})


def request_words(study, folder, option, names):
    """Write balls of blood around the points as a segmentation; return the words for it."""
    places = placed_in(study, names)
    if not places:
        return []
    path = Path(folder) / "blood_points.seg.nrrd"
    balls = ball_of_blood(mrml.geometry_from_node(study.scan), places)
    write_labelmap(balls, path, compressed=False)
    return [option, str(path)]
