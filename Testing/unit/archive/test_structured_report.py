"""The report holds every value with its unit, method and quality, for every reader."""

from __future__ import annotations

import highdicom
import pydicom
import pytest
from archive_support import (
    faults,
    read_json,
    run_program,
    write_archive,
    write_measured,
)
from highdicom.sr import srread

from lungperfusion.archive.results import read_results
from lungperfusion.quality import Gate
from lungperfusion.terms import MEASURES
from lungperfusion.terms.archive import UCUM, derivation_code, measure_code
from lungperfusion.terms.measures import UNITS

FLOW = {"126390", "126391", "126397", "126398", "113052", "113069", "113084"}
"""Codes of what is measured in a dynamic study alone (PS3.16 CID 4108)."""


@pytest.fixture(scope="module")
def groups(study) -> list:
    """All groups as highdicom reads them."""
    content = srread(study.objects / "report.dcm").content
    return [
        *content.get_volumetric_roi_measurement_groups(),
        *content.get_image_measurement_groups(),
    ]


def items(group, name: str) -> list[pydicom.Dataset]:
    """Content items of a group under one code value."""
    found = []
    for item in group[0].ContentSequence:
        concept = item.ConceptNameCodeSequence[0]
        if name in (concept.get("CodeValue"), concept.get("LongCodeValue")):
            found.append(item)
    return found


def test_highdicom_reads_every_number(study, groups):
    wanted = read_results(study.results).measurements
    numbers = {}
    for group in groups:
        for entry in group.get_measurements():
            key = (group.tracking_identifier, entry.name.value, entry.unit.value)
            assert key not in numbers
            numbers[key] = entry.value

    assert len(numbers) == sum(entry.status != "missing" for entry in wanted)
    for entry in wanted:
        if entry.status != "missing":
            key = (entry.region, measure_code(entry.measure).value, UCUM[entry.unit])
            assert numbers[key] == pytest.approx(entry.value, rel=1e-12)


def test_dcmqi_reads_every_number(study, tmp_path):
    path = tmp_path / "report.json"
    run_program(
        "tid1500reader", "--inputDICOM", study.objects / "report.dcm", "--outputMetadata", path
    )

    read = {
        (group["TrackingIdentifier"], item["quantity"]["CodeValue"]): (
            float(item["value"]),
            item["units"]["CodeValue"],
            group.get("measurementMethod", {}).get("CodeMeaning", ""),
        )
        for group in read_json(path)["Measurements"]
        for item in group.get("measurementItems", ())
    }
    wanted = [e for e in read_results(study.results).measurements if e.status != "missing"]
    assert len(read) == len(wanted)
    for entry in wanted:
        value, unit, method = read[entry.region, measure_code(entry.measure).value]
        assert value == pytest.approx(entry.value, rel=1e-12)
        assert unit == UCUM[entry.unit]
        assert entry.method.startswith(method.removesuffix("..."))


def test_regions_refer_to_their_segments(study, groups):
    lobes = pydicom.dcmread(study.objects / "seg_lobes.dcm")
    numbers = {s.TrackingID: (s.SegmentNumber, s.TrackingUID) for s in lobes.SegmentSequence}

    seen = set()
    for group in groups:
        if group.tracking_identifier in numbers:
            number, uid = numbers[group.tracking_identifier]
            named = group.referenced_segment
            assert named.referenced_sop_instance_uid == lobes.SOPInstanceUID
            assert named.referenced_segment_numbers == [number]
            assert group.tracking_uid == uid
            seen.add(group.tracking_identifier)
    assert seen == set(numbers)


def test_a_missing_value_has_its_reason_and_no_number(groups):
    (group,) = (g for g in groups if g.tracking_identifier == "right_lung")

    assert group.get_measurements() == []
    (answer,) = group.get_qualitative_evaluations()
    assert answer.value.value == "114006"
    text = [i.TextValue for i in items(group, "iodine_mean") if i.ValueType == "TEXT"]
    assert text == ["the lung is collapsed"]


def test_a_doubtful_value_is_marked_with_its_reason(groups):
    (group,) = (g for g in groups if items(g, "ipv"))

    kinds = {item.ValueType: item for item in items(group, "ipv")}
    assert kinds["NUM"].MeasuredValueSequence[0].NumericValue == pytest.approx(98.7654)
    assert kinds["CODE"].ConceptCodeSequence[0].CodeValue == "caution"
    assert kinds["TEXT"].TextValue == "a thick slice"


def test_a_long_method_is_whole(groups):
    (group,) = (g for g in groups if g.tracking_identifier == "left_lung")

    assert group.method.meaning.endswith("...")
    (text,) = items(group, "370129005")[1:]
    assert text.TextValue == ("weights " + "of the surrogate " * 6).strip()


def test_checks_are_evaluations_with_their_sentences(groups):
    (group,) = (g for g in groups if g.tracking_identifier == "quality checks")

    found = {i.ValueType: i for i in items(group, "gate_kernel")}
    assert found["CODE"].ConceptCodeSequence[0].CodeValue == "verdict_warn"
    assert found["TEXT"].TextValue == "The kernel is sharp (µ > 1)."
    assert items(group, "gate_noise")[0].ConceptCodeSequence[0].CodeValue == "verdict_pass"


def test_sides_are_coded(groups):
    (group,) = (g for g in groups if g.tracking_identifier == "left_lung")

    (site,) = group.finding_sites
    assert site.value.value == "39607008"
    assert site.laterality.meaning == "Left"


def test_dciodvfy_finds_no_error(study):
    assert faults(study.objects / "report.dcm") == []


def test_a_failed_check_leaves_the_report_partial(study, tmp_path):
    gates = (Gate(id="both_lungs", verdict="fail", message="One lung is missing."),)
    results = write_measured(tmp_path / "results", study.source, gates=gates)
    objects = write_archive(tmp_path / "objects", results, study.source)

    report = pydicom.dcmread(objects / "report.dcm")
    assert report.CompletionFlag == "PARTIAL"
    assert report.VerificationFlag == "UNVERIFIED"
    assert pydicom.dcmread(study.objects / "report.dcm").CompletionFlag == "COMPLETE"


# Codes ----------------------------------------------------------------------------------------


def test_every_measure_has_a_code_of_its_own():
    codes = {}
    for measure in MEASURES:
        code, derived = measure_code(measure), derivation_code(measure)
        key = (code.value, code.scheme, MEASURES[measure].unit, derived and derived.value)
        assert key not in codes, f"{measure} and {codes.get(key)} share a code"
        codes[key] = measure
        assert len(code.meaning) > 2
        assert code.value not in FLOW


def test_every_unit_has_a_code():
    assert set(UCUM) >= UNITS


def test_private_codes_are_explained_in_the_file(study):
    for path in study.objects.glob("*.dcm"):
        made = pydicom.dcmread(path, stop_before_pixels=True)
        (scheme,) = made.CodingSchemeIdentificationSequence
        assert scheme.CodingSchemeDesignator == "99LUNGPERF"
        assert scheme.CodingSchemeResponsibleOrganization


def test_slicers_reader_finds_the_template(study):
    report = pydicom.dcmread(study.objects / "report.dcm")

    assert report.ContentTemplateSequence[0].TemplateIdentifier == "1500"
    assert isinstance(
        highdicom.sr.srread(study.objects / "report.dcm"), highdicom.sr.Comprehensive3DSR
    )
