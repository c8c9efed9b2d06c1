"""What all objects of one export share: UIDs, dates, equipment, coding scheme, patient."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import UID, generate_uid

import lungperfusion
from lungperfusion.archive.source import SourceSeries
from lungperfusion.naming import plain
from lungperfusion.terms import archive as terms
from lungperfusion.terms.regions import Code
from lungperfusion.volume import Geometry

SOFTWARE = "SlicerLungPerfusion"
SERIAL_NUMBER = "0"
"""A program has none, and the attribute must not be empty (type 1)."""
QUALIFICATION = "RESEARCH"
LONGEST_TEXT = 64
"""Of a value of one line (LO, PS3.5 section 6.2): characters there, bytes for old programs."""
NOTICE = "Research use only. Not for diagnosis."

_LPS_FROM_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True, eq=False, kw_only=True)
class Export:
    """One export: the source, and what makes its objects the same every time."""

    source: SourceSeries
    entropy: tuple[str, ...]
    """Everything that the objects follow from."""
    module: str
    version: str
    """Of the program that measured."""

    def uid(self, role: str) -> UID:
        """UID of one object, series or part of this export."""
        return generate_uid(entropy_srcs=[*self.entropy, role])

    def tracking_uid(self, structure: str) -> UID:
        """UID of a structure of this patient's study, the same whatever measures it again."""
        source = self.source
        return generate_uid(
            entropy_srcs=["tracked", source.study_uid, source.frame_of_reference_uid, structure]
        )

    def base(self, role: str, number: int, description: str) -> dict[str, Any]:
        """Arguments that every constructor of highdicom takes."""
        return {
            "series_instance_uid": self.uid(f"series {role}"),
            "series_number": number,
            "sop_instance_uid": self.uid(f"instance {role}"),
            "instance_number": 1,
            "manufacturer": SOFTWARE,
            "manufacturer_model_name": f"{SOFTWARE} {self.module}",
            "software_versions": lungperfusion.__version__,
            "device_serial_number": SERIAL_NUMBER,
            "series_description": shortened(f"LungPerfusion {description} (research)"),
            "specific_character_set": "ISO_IR 192",
        }

    def algorithm(self, *, parameters: dict[str, str] | None = None) -> Any:
        """Identify the program as the algorithm behind a segmentation."""
        return hd.AlgorithmIdentificationSequence(
            name=f"{SOFTWARE} {self.module}",
            version=self.version,
            family=codes.DCM.MorphologicalOperations,
            source=SOFTWARE,
            parameters=parameters,
        )

    def volume(self, array: NDArray[Any], geometry: Geometry) -> Any:
        """Array (K, J, I) as highdicom's volume in the source's frame of reference."""
        affine = _LPS_FROM_RAS @ geometry.ijk_to_ras
        return hd.Volume(
            np.asarray(array),
            affine[:, [2, 1, 0, 3]],
            coordinate_system="PATIENT",
            frame_of_reference_uid=self.source.frame_of_reference_uid,
        )

    def finish(self, made: Any, role: str) -> Any:
        """Give an object the source's patient and times that depend on nothing but content."""
        source = self.source
        made.SpecificCharacterSet = "ISO_IR 192"
        for element in source.identity:
            made[element.tag] = element
        made.ContentQualification = QUALIFICATION
        made.InstanceCreationDate, made.InstanceCreationTime = source.date, source.time
        for keyword in ("ContentDate", "SeriesDate"):
            setattr(made, keyword, source.date)
        for keyword in ("ContentTime", "SeriesTime"):
            setattr(made, keyword, source.time)
        made.CodingSchemeIdentificationSequence = [_scheme()]
        for item in made.get("ContributingEquipmentSequence", []):
            item.ContributionDateTime = source.date + source.time
        if "DimensionOrganizationSequence" in made:
            uid = self.uid(f"dimensions {role}")
            made.DimensionOrganizationSequence[0].DimensionOrganizationUID = uid
            for item in made.get("DimensionIndexSequence", []):
                item.DimensionOrganizationUID = uid
        return made


def _scheme() -> Dataset:
    """Say what the private codes are (PS3.3 C.12.1.1.12)."""
    item = Dataset()
    item.CodingSchemeDesignator = terms.PRIVATE_SCHEME
    item.CodingSchemeName = terms.PRIVATE_SCHEME_NAME
    item.CodingSchemeVersion = terms.PRIVATE_SCHEME_VERSION
    item.CodingSchemeResponsibleOrganization = terms.RESPONSIBLE
    return item


def save(made: Any, path: Path) -> None:
    """Write an object; the same object gives the same bytes."""
    made.save_as(path, enforce_file_format=True)


def concept(code: Code) -> Any:
    """Code as highdicom takes it."""
    return hd.sr.CodedConcept(code.value, code.scheme, shortened(code.meaning))


def code_string(name: str) -> str:
    """Name as DICOM writes a code string (VR CS): up to 16 capitals, digits and underscores.

    Examples
    --------
    >>> code_string("lobes"), code_string("perfusion_defects"), code_string("µ-map")
    ('LOBES', 'PERFUSION_DEFECT', 'MAP')

    """
    capitals = re.sub(r"[^A-Z0-9_]+", "_", plain(name).upper())
    return capitals.strip("_")[:16]


def shortened(text: str, longest: int = LONGEST_TEXT) -> str:
    """Text of one line that fits an attribute, without what DICOM reads as a separator.

    Examples
    --------
    >>> shortened("mean of voxels in mm²", 20), shortened("a\\\\b")
    ('mean of voxels in...', 'a/b')

    """
    text = plain(text).replace("\\", "/")
    whole = text.encode()
    if len(whole) <= longest:
        return text
    return whole[: longest - 3].decode(errors="ignore").rstrip() + "..."
