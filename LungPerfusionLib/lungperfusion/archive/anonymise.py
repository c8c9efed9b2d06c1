"""Taking the patient out of what is written: the profile that ``--anonymise`` follows.

It is the Basic Application Level Confidentiality Profile of PS3.15 annex E, for objects that hold
only what this package puts into them: of the patient and the study nothing is kept, dates become
one that is none, and every UID of the source is replaced by one made from it.
"""

from __future__ import annotations

import copy
from dataclasses import replace

from pydicom.dataset import Dataset
from pydicom.uid import UID, generate_uid

from lungperfusion.archive.source import REQUIRED, SourceSeries

METHOD = "PS3.15 Basic Application Confidentiality Profile, UIDs replaced"
PROFILE = ("113100", "DCM", "Basic Application Confidentiality Profile")
DATE, TIME = "19000101", "000000"
"""Dummy values of what an object must have (PS3.15 table E.1-1, action D)."""


def anonymised(source: SourceSeries, case: str) -> SourceSeries:
    """Source without its patient: the name of the case stands for both name and ID.

    Parameters
    ----------
    source
        As it was read.
    case
        Name of the case in the results.

    """
    identity = Dataset()
    for keyword in REQUIRED:
        setattr(identity, keyword, "")
    identity.PatientID = case
    identity.PatientName = case
    identity.PatientIdentityRemoved = "YES"
    identity.DeidentificationMethod = METHOD
    profile = Dataset()
    profile.CodeValue, profile.CodingSchemeDesignator, profile.CodeMeaning = PROFILE
    identity.DeidentificationMethodCodeSequence = [profile]
    identity.StudyInstanceUID = replaced(source.study_uid)
    references = [copy.deepcopy(reference) for reference in source.references]
    for reference in references:
        for keyword in (
            *("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"),
        ):
            setattr(reference, keyword, replaced(str(reference.get(keyword))))
    return replace(
        source,
        references=tuple(references),
        identity=identity,
        frame_of_reference_uid=replaced(source.frame_of_reference_uid),
        date=DATE,
        time=TIME,
        is_removed=True,
    )


def replaced(uid: str) -> UID:
    """UID that stands for another one, always the same."""
    return generate_uid(entropy_srcs=["anonymised", uid])
