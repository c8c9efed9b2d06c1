"""Measurements and quality checks as a structured report of template TID 1500."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import highdicom as hd
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code as PydicomCode

from lungperfusion.archive.objects import LONGEST_TEXT, SERIAL_NUMBER, SOFTWARE, Export, concept
from lungperfusion.archive.segmentations import SegmentationObject
from lungperfusion.measurement import Measurement
from lungperfusion.quality import Gate
from lungperfusion.terms import title
from lungperfusion.terms.archive import (
    FAILURE,
    LUNG,
    derivation_code,
    measure_code,
    private,
    structure_codes,
    unit_code,
)
from lungperfusion.terms.regions import Code

CT_CHEST = PydicomCode("24627-2", "LN", "CT Chest")
"""Procedure that the report is about (LOINC)."""
CAUTION = private("caution", "Read with caution")
VERDICTS = {
    "pass": private("verdict_pass", "Passed"),
    "warn": private("verdict_warn", "Look before use"),
    "fail": private("verdict_fail", "Failed"),
    "unknown": private("verdict_unknown", "Could not be checked"),
}
QUALITY = private("quality", "Quality checks")


def make_report(
    export: Export,
    measurements: Sequence[Measurement],
    gates: Sequence[Gate],
    segmentations: Iterable[SegmentationObject],
    *,
    number: int,
) -> Any:
    """Make the report of one analysis.

    A value that could not be computed is a qualitative evaluation "Measurement failure" under the
    measure's own code, with its reason as text under the same code; a value to be read with
    caution is a number with such an evaluation beside it.  Both survive readers that know
    numbers only.

    Parameters
    ----------
    export
        What it belongs to.
    measurements, gates
        Of the analysis.
    segmentations
        Objects whose segments the regions refer to.
    number
        Of its series.

    """
    segmentations = list(segmentations)
    segments = {
        name: (made.dataset, segment)
        for made in segmentations
        for name, segment in made.numbers.items()
    }
    groups = [
        _group(export, region, method, entries, segments)
        for (region, method), entries in _by_method(measurements).items()
    ]
    if gates:
        groups.append(_quality_group(export, gates))
    content = hd.sr.MeasurementReport(
        observation_context=hd.sr.ObservationContext(
            observer_device_context=hd.sr.ObserverContext(
                observer_type=codes.DCM.Device,
                observer_identifying_attributes=hd.sr.DeviceObserverIdentifyingAttributes(
                    uid=export.uid("device"),
                    name=SOFTWARE,
                    manufacturer_name=SOFTWARE,
                    model_name=f"{SOFTWARE} {export.version}",
                    serial_number=SERIAL_NUMBER,
                ),
            )
        ),
        procedure_reported=CT_CHEST,
        imaging_measurements=groups,
        title=codes.DCM.ImagingMeasurementReport,
        language_of_content_item_and_descendants=hd.sr.LanguageOfContentItemAndDescendants(
            PydicomCode("en", "RFC5646", "English")
        ),
        referenced_images=_in_library(export.source.references),
    )
    role = "report"
    base = export.base(role, number, f"{export.module} measurements")
    made = hd.sr.Comprehensive3DSR(
        evidence=[*export.source.references, *(entry.dataset for entry in segmentations)],
        content=content,
        is_complete=not any(gate.verdict == "fail" for gate in gates),
        **base,
    )
    return export.finish(made, role)


def _in_library(references: Sequence[Dataset]) -> Sequence[Dataset] | None:
    """Images for the image library, which describes those of one frame alone."""
    return None if "NumberOfFrames" in references[0] else references


def _by_method(
    measurements: Sequence[Measurement],
) -> dict[tuple[str, str], list[Measurement]]:
    """Measurements of one region by one method: readers know a method of groups alone."""
    groups: dict[tuple[str, str], list[Measurement]] = {}
    for entry in measurements:
        groups.setdefault((entry.region, entry.method), []).append(entry)
    return groups


def _group(
    export: Export,
    region: str,
    method: str,
    entries: Sequence[Measurement],
    segments: Mapping[str, tuple[Any, int]],
) -> Any:
    coded = structure_codes(region)
    site = coded.region or coded.type
    settings: dict[str, Any] = {
        "tracking_identifier": hd.sr.TrackingIdentifier(
            uid=export.tracking_uid(region), identifier=region
        ),
        "finding_type": concept(coded.type),
        "finding_sites": [
            hd.sr.FindingSite(
                anatomic_location=concept(site),
                laterality=None if coded.side is None else concept(coded.side),
            )
        ],
        "measurements": [_number(entry) for entry in entries if entry.status != "missing"],
        "qualitative_evaluations": [
            hd.sr.QualitativeEvaluation(
                concept(measure_code(entry.measure)),
                concept(FAILURE if entry.status == "missing" else CAUTION),
            )
            for entry in entries
            if entry.status != "ok"
        ],
    }
    if method:
        settings["method"] = concept(_method_code(method))
    if region in segments:
        dataset, segment = segments[region]
        group = hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
            referenced_segment=hd.sr.ReferencedSegment(
                sop_class_uid=dataset.SOPClassUID,
                sop_instance_uid=dataset.SOPInstanceUID,
                segment_number=segment,
                source_series=hd.sr.SourceSeriesForSegmentation(
                    export.source.references[0].SeriesInstanceUID
                ),
            ),
            **settings,
        )
    else:
        group = hd.sr.MeasurementsAndQualitativeEvaluations(**settings)
    if len(method.encode()) > LONGEST_TEXT:
        _add_text(group, Code("370129005", "Measurement Method"), method)
    for entry in entries:
        if entry.reason:
            _add_text(group, measure_code(entry.measure), entry.reason)
    return group


def _number(entry: Measurement) -> Any:
    derivation = derivation_code(entry.measure)
    return hd.sr.Measurement(
        name=concept(measure_code(entry.measure)),
        value=entry.value,
        unit=concept(unit_code(entry.unit)),
        derivation=None if derivation is None else concept(derivation),
    )


def _method_code(method: str) -> Code:
    digest = hashlib.sha256(method.encode()).hexdigest()[:8]
    return private(f"method_{digest}", method)


def _quality_group(export: Export, gates: Sequence[Gate]) -> Any:
    """All checks as evaluations, with what they say as text under the same codes."""
    named = {gate.id: private(f"gate_{gate.id}", f"Check: {title(gate.id)}") for gate in gates}
    group = hd.sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier(
            uid=export.tracking_uid("quality"), identifier="quality checks"
        ),
        finding_type=concept(QUALITY),
        finding_sites=[hd.sr.FindingSite(anatomic_location=concept(LUNG))],
        qualitative_evaluations=[
            hd.sr.QualitativeEvaluation(concept(named[gate.id]), concept(VERDICTS[gate.verdict]))
            for gate in gates
        ],
    )
    for gate in gates:
        _add_text(group, named[gate.id], gate.message)
    return group


def _add_text(group: Any, name: Code, text: str) -> None:
    group[0].ContentSequence.append(
        hd.sr.TextContentItem(
            name=concept(name),
            value=text,
            relationship_type=hd.sr.RelationshipTypeValues.CONTAINS,
        )
    )
