"""What a reader corrected: the audit trail, the originals, and what is outdated."""

import math

from lungperfusion import mrml
from lungperfusion.errors import InputError
from lungperfusion_gui.study import MEASUREMENTS

TRAIL = "trail"
ORIGINAL = "original."


def note(study, entry):
    """Add an entry to the audit trail that the scene keeps."""
    node = study.node(TRAIL) or study.text_node(TRAIL, "")
    mrml.add_to_trail(node, entry)


def entries(study):
    """Entries of the audit trail."""
    return mrml.read_trail(study.node(TRAIL))


def note_mark(study, what):
    """Record that the reader placed, moved or scored something: results are outdated.

    Successive changes of the same mark are one entry with the time of the last.
    """
    known = entries(study)
    if known and known[-1].get("marked") == what:
        mrml.drop_last_of_trail(study.node(TRAIL))
    note(study, {"marked": what})
    study.outdated = True


def note_edit(study, name, changed):
    """Record an edit of a label map: results are outdated from now on.

    Parameters
    ----------
    study
        What was corrected.
    name
        Name of the label map.
    changed
        Result of `mrml.SegmentSnapshot.changes_to`.

    """
    for segment, (added, removed, voxel_ml) in changed.items():
        entry = {
            "segmentation": name,
            "segment": segment,
            "voxels_added": added,
            "voxels_removed": removed,
            "ml_added": round(added * voxel_ml, 3),
            "ml_removed": round(removed * voxel_ml, 3),
        }
        note(study, entry)
    study.drop(f"drawn.{name}")  # the reader goes on from what is shown
    study.corrected = [*study.corrected, name]
    study.outdated = True


def note_recomputation(study, before):
    """Record what a recomputation changed; ``before`` are the measurements of the run before."""
    parts = study.corrected or ["reader's marks"]
    note(study, {"recomputed": parts, "changes": changes(before, study.measurements)})


def keep_original_measurements(study):
    """Keep the table of the run before the first correction."""
    role, rows = ORIGINAL + MEASUREMENTS, study.measurements
    if rows and study.node(role) is None:
        name = study.title("measurements before corrections")
        study.keep(role, mrml.show_measurements(study.scene, rows, name))


def keep_original_labels(study, name):
    """Keep the segments as they were found, before the first edit."""
    role, node = f"{ORIGINAL}{name}", study.node(f"labels.{name}")
    if node is not None and study.node(role) is None:
        copy = mrml.copy_segmentation(study.scene, node, f"{node.GetName()} (original)")
        study.keep(role, copy)


def hide_originals(study):
    """Hide kept copies of scenes that were saved without a display of theirs."""
    for role in (*study.roles(ORIGINAL), *study.roles("drawn.")):
        node = study.node(role)
        if node is not None and node.IsA("vtkMRMLSegmentationNode"):
            mrml.hide_segmentation(node)


def restore(study, name):
    """Take back all corrections of a label map; the trail keeps them."""
    original, node = study.node(f"{ORIGINAL}{name}"), study.node(f"labels.{name}")
    if original is None or node is None:
        raise InputError(f"there is no original of the {name}; nothing was corrected")
    mrml.restore_segmentation(node, original)
    note(study, {"segmentation": name, "restored": True})
    study.corrected = [known for known in study.corrected if known != name]
    study.outdated = True


def forget(study):
    """Start anew: the next run finds everything itself."""
    for role in (*study.roles(ORIGINAL), *study.roles("drawn.")):
        study.drop(role)
    if study.corrected:
        note(study, {"discarded": study.corrected})
    study.corrected = []
    study.outdated = False


def changes(before, after, regions=("lungs", "left_lung", "right_lung")):
    """Values that a recomputation changed, the largest relative change first."""
    old = {(row.region, row.measure): row.value for row in before}
    listed = []
    for row in after:
        was = old.get((row.region, row.measure), math.nan)
        same = row.value == was or (math.isnan(row.value) and math.isnan(was))
        if row.region in regions and not same:
            listed.append(
                {
                    "region": row.region,
                    "measure": row.measure,
                    "unit": row.unit,
                    "before": None if math.isnan(was) else was,
                    "after": None if math.isnan(row.value) else row.value,
                }
            )
    return sorted(listed, key=_relative_change, reverse=True)


def _relative_change(row):
    """Share of the larger value by which the two differ; 1 where one is missing."""
    before, after = row["before"], row["after"]
    if before is None or after is None:
        return 1.0
    return abs(after - before) / max(abs(after), abs(before))
