"""Reading and writing image files."""

from lungperfusion.io.atomic import atomic_path, results_folder
from lungperfusion.io.reading import (
    read_ct,
    read_labelmap,
    read_map,
    read_segmentation,
    read_vectors,
)
from lungperfusion.io.scan import Scan, Source
from lungperfusion.io.writing import write_labelmap, write_volume
from lungperfusion.labels import LabelImage, Segment, labelmap_of

__all__ = [
    "LabelImage",
    "Scan",
    "Segment",
    "Source",
    "atomic_path",
    "labelmap_of",
    "read_ct",
    "read_labelmap",
    "read_map",
    "read_segmentation",
    "read_vectors",
    "results_folder",
    "write_labelmap",
    "write_volume",
]
