"""MRML nodes to the objects of this package, and back: one module for each kind of node.

Works in the application and with the Python package ``slicer-core``: nodes and scenes are given,
nothing here asks for the application.  Positions are RAS mm on both sides, so matrices pass
unchanged.
"""

from lungperfusion.mrml.colours import colour_node
from lungperfusion.mrml.edits import SegmentSnapshot, keep_inside_body, segments_ml
from lungperfusion.mrml.examinations import show_xenon
from lungperfusion.mrml.geometry import (
    geometry_from_node,
    has_grid,
    image_array,
    oriented_image,
    vtk_matrix,
)
from lungperfusion.mrml.hierarchy import put_beside
from lungperfusion.mrml.markups import line_ras_mm, points_ras_mm
from lungperfusion.mrml.names import ATTRIBUTE_PREFIX, CLOSED_SURFACE, LABELMAP
from lungperfusion.mrml.nodes import images_in, nodes_of_class
from lungperfusion.mrml.plots import Curve, show_chart, show_curves
from lungperfusion.mrml.segmentations import (
    copy_segmentation,
    hide_segmentation,
    labelimage_from_segmentation,
    labelmap_from_segmentation,
    lungs_mask,
    reference_of,
    restore_segmentation,
    segment_centre_ras_mm,
    segment_mask,
    show_labelmap,
    shows,
)
from lungperfusion.mrml.sequences import (
    browse,
    frames_from_sequence,
    grid_of,
    is_sequence,
    sequence_geometry,
    sequence_planes,
    sequence_times_s,
    show_frames,
    shown_frame,
)
from lungperfusion.mrml.surfaces import make_surface, without_surface
from lungperfusion.mrml.tables import (
    NO_VALUE,
    column_unit,
    show_findings,
    show_measurements,
    table_rows,
)
from lungperfusion.mrml.trail import add_to_trail, drop_last_of_trail, read_trail
from lungperfusion.mrml.transforms import show_transform, write_transform
from lungperfusion.mrml.volumes import (
    masked,
    show_volume,
    value_at,
    volume_from_node,
    with_padding,
)

__all__ = [
    "ATTRIBUTE_PREFIX",
    "CLOSED_SURFACE",
    "LABELMAP",
    "NO_VALUE",
    "Curve",
    "SegmentSnapshot",
    "add_to_trail",
    "browse",
    "colour_node",
    "column_unit",
    "copy_segmentation",
    "drop_last_of_trail",
    "frames_from_sequence",
    "geometry_from_node",
    "grid_of",
    "has_grid",
    "hide_segmentation",
    "image_array",
    "images_in",
    "is_sequence",
    "keep_inside_body",
    "labelimage_from_segmentation",
    "labelmap_from_segmentation",
    "line_ras_mm",
    "lungs_mask",
    "make_surface",
    "masked",
    "nodes_of_class",
    "oriented_image",
    "points_ras_mm",
    "put_beside",
    "read_trail",
    "reference_of",
    "restore_segmentation",
    "segment_centre_ras_mm",
    "segment_mask",
    "segments_ml",
    "sequence_geometry",
    "sequence_planes",
    "sequence_times_s",
    "show_chart",
    "show_curves",
    "show_findings",
    "show_frames",
    "show_labelmap",
    "show_measurements",
    "show_transform",
    "show_volume",
    "show_xenon",
    "shown_frame",
    "shows",
    "table_rows",
    "value_at",
    "volume_from_node",
    "vtk_matrix",
    "with_padding",
    "without_surface",
    "write_transform",
]
