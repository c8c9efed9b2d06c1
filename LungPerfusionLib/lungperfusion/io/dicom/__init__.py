"""Reading DICOM images: folders, single files and zips of them.

Slices are placed by Image Position and Image Orientation only; file names and instance numbers
play no part.
"""

from lungperfusion.io.dicom.sources import is_dicom
from lungperfusion.io.dicom.volumes import read_dicom

__all__ = ["is_dicom", "read_dicom"]
