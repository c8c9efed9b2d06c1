"""Points that a reader places in the blood of great vessels; a ball around each is measured."""

from pathlib import Path

from lungperfusion import mrml
from lungperfusion.io import write_labelmap
from lungperfusion.iodine.trunk import ball_of_blood
from lungperfusion.terms import title
from lungperfusion_gui.marks import POINTS, Mark, MarkPlacer

TRUNK, AORTA = "pulmonary_artery", "aorta"
"""IDs of the segments, as the command line knows them."""

MARKS = {
    TRUNK: Mark(f"blood.{TRUNK}", POINTS, title(TRUNK), colour=(0.2, 0.45, 0.9)),
    AORTA: Mark(f"blood.{AORTA}", POINTS, title(AORTA), colour=(0.9, 0.25, 0.2)),
}


def placed(study, names):
    """Places in RAS mm of the marks that were placed, by name."""
    nodes = {name: study.node(MARKS[name].role) for name in names}
    points = {name: mrml.points_ras_mm(node) for name, node in nodes.items() if node is not None}
    return {name: found[-1] for name, found in points.items() if len(found)}


def request_words(study, folder, option, names):
    """Write balls of blood around the points as a segmentation; return the words for it."""
    places = placed(study, names)
    if not places:
        return []
    path = Path(folder) / "blood_points.seg.nrrd"
    balls = ball_of_blood(mrml.geometry_from_node(study.scan), places)
    write_labelmap(balls, path, compressed=False)
    return [option, str(path)]


class BloodPanel:
    """Buttons that place and remove points in great vessels.

    Parameters
    ----------
    buttons
        Button by name of its vessel.
    clear_button
        Takes all marks away.
    on_change
        Called when a point was placed, moved or removed.
    """

    def __init__(self, buttons, clear_button, on_change):
        self.marks = MarkPlacer([MARKS[name] for name in buttons], on_change)
        for name, button in buttons.items():
            self.marks.add_button(button, lambda mark=MARKS[name]: mark)
        clear_button.connect("clicked(bool)", lambda on=False: self._clear(buttons))

    def bind(self, study):
        """Watch the points of a scan; None before it goes."""
        self.marks.bind(study)

    def _clear(self, names):
        for name in names:
            self.marks.remove(MARKS[name])
