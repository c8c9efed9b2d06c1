"""A folder of the open gas exchange pipeline in CTVQ: what is chosen, what is said, and numbers."""

import json
from pathlib import Path

import numpy as np
import pytest
from gui_support import JobAtOnce, drained
from half_chest import make_chest, make_mri
from nifti_layout import write_nifti, write_pipeline_folder

from lungperfusion import mrml
from lungperfusion.__main__ import main
from lungperfusion.io import write_labelmap, write_volume
from lungperfusion.io.xenon.maps import Placement, read_xenon_map
from lungperfusion.mrml.segmentations import terminology_of
from lungperfusion.phantoms.xenon import FIELD_MM
from lungperfusion.terms.xenon import IMAGE_NAMES
from lungperfusion.xenon.orienting import grid_of_field

MATRIX = 48
FIELDS = {
    "ventilation": "xenonVentilation",
    "rbc_gas": "xenonRbcGas",
    "membrane_gas": "xenonMembraneGas",
    "lungs": "xenonMask",
    "statistics": "xenonStatistics",
}
LOADED_S = 60.0


@pytest.fixture
def at_once(panel, monkeypatch):
    """Read folders in this process: starting one takes seconds."""
    from lungperfusion_gui import xenon_folder

    monkeypatch.setattr(xenon_folder, "Job", JobAtOnce)


@pytest.fixture(scope="module")
def chest():
    return make_chest()


@pytest.fixture(scope="module")
def xenon(chest):
    return make_mri(chest, matrix=MATRIX)


@pytest.fixture
def errors(desktop, monkeypatch):
    import slicer

    said = []
    monkeypatch.setattr(slicer.util, "errorDisplay", lambda text, *_, **__: said.append(text))
    return said


@pytest.fixture
def panel(desktop, modules, errors):
    modules("CTVQ")
    panel = desktop.select("CTVQ")
    panel.ui.analysis.currentText = "gas transfer"
    return panel


def load(desktop, panel, folder):
    panel.ui.xenonFolder.currentPath = str(folder)
    panel.ui.xenonFolderButton.click()
    assert panel.ui.xenonFolderButton.text == "Stop reading"
    desktop.wait(lambda: panel.pipeline.job is None, LOADED_S)
    assert panel.ui.xenonFolderButton.text == "Load folder"


def chosen(panel):
    return {key: getattr(panel.parameters, field) for key, field in FIELDS.items()}


def scene_nodes():
    import slicer

    kinds = ("vtkMRMLVolumeNode", "vtkMRMLSegmentationNode", "vtkMRMLTableNode")
    return {node.GetID() for kind in kinds for node in slicer.util.getNodesByClass(kind)}


def test_broken_headers_are_placed_and_all_is_chosen(desktop, panel, errors, xenon, tmp_path):
    folder = write_pipeline_folder(xenon, tmp_path / "examination of Doe")
    load(desktop, panel, folder)
    assert errors == []
    nodes = chosen(panel)
    assert {key: node.GetName() for key, node in nodes.items()} == IMAGE_NAMES
    grid = grid_of_field((MATRIX,) * 3, (FIELD_MM,) * 3, "coronal")
    for name in ("ventilation", "membrane_gas", "rbc_gas"):
        volume = mrml.volume_from_node(nodes[name], "1")
        assert volume.geometry.same_as(grid)
        expected = np.nan_to_num(getattr(xenon, name))
        np.testing.assert_allclose(volume.array, expected, rtol=1e-5, atol=1e-9)
    assert (mrml.segment_mask(nodes["lungs"], "lungs", grid) == xenon.mask).all()
    segment = nodes["lungs"].GetSegmentation().GetSegment("lungs")
    assert "SCT^39607008^Lung~SCT^51440002^Right and left" in terminology_of(segment)
    assert panel.study.scan is nodes["rbc_gas"]
    assert panel.parameters.referenceSet == "208"
    assert not panel.ui.biasCorrected.checked
    words = panel.ui.xenonReadLabel.text
    assert words == (
        "Read: ventilation, RBC:gas (made from the signals of red cells and gas), membrane:gas, "
        "lungs, statistics; placed by the field of view of the statistics, 400 × 400 × 400 mm; "
        "missing: nothing."
    )
    columns, (row,) = mrml.table_rows(nodes["statistics"])
    assert dict(zip(columns, row, strict=True))["age"] == "40.0"


def test_nothing_of_the_patient_comes_into_the_scene(desktop, panel, at_once, xenon, tmp_path):
    import slicer

    load(desktop, panel, write_pipeline_folder(xenon, tmp_path / "Doe"))
    slicer.util.saveScene(str(tmp_path / "scene.mrml"))
    text = (tmp_path / "scene.mrml").read_text(encoding="utf-8")
    for word in ("subject_id", "scan_date", "future_column", "2024-05-06"):
        assert word not in text
    columns, rows = mrml.table_rows(panel.parameters.xenonStatistics)
    assert not {"subject_id", "scan_date", "future_column"} & set(columns)
    assert "Doe" not in str(rows)
    assert all("Doe" not in node.GetName() for node in chosen(panel).values())


def test_numbers_are_those_of_the_command_line(desktop, panel, at_once, chest, xenon, tmp_path):
    import slicer

    folder = write_pipeline_folder(xenon, tmp_path / "examination")
    load(desktop, panel, folder)
    parameters = panel.parameters
    parameters.inspiration = mrml.show_volume(slicer.mrmlScene, chest.ct, "CT")
    parameters.inspirationLungMask = mrml.show_labelmap(
        slicer.mrmlScene, chest.truth.lungs, "Lungs"
    )
    parameters.inspirationLobes = "none"
    assert panel.logic.missing(parameters) == ""
    inputs = tmp_path / "inputs"
    inputs.mkdir()
    write_volume(chest.ct, tmp_path / "ct.nrrd")
    write_labelmap(chest.truth.lungs, tmp_path / "lungs.seg.nrrd")
    command = ["xenon", "--ct", str(tmp_path / "ct.nrrd"), "--duke", str(folder)]
    command += ["--lung-mask", str(tmp_path / "lungs.seg.nrrd"), "--lobes", "none"]
    found = {}
    for name, words in (
        ("panel", drained(panel.logic.request(parameters, inputs))),
        ("command", command),
    ):
        out = ["--no-report", "--quiet", "--keep-stages", str(tmp_path / "stages")]
        assert main([*words, *out, "-o", str(tmp_path / name)]) == 0
        record = json.loads((tmp_path / name / "results.json").read_text(encoding="utf-8"))
        (found[name],) = record["analyses"]
    assert found["panel"]["measurements"] == found["command"]["measurements"]
    assert found["panel"]["quality_gates"] == found["command"]["quality_gates"]
    statistics = {
        (tmp_path / name / "pipeline_statistics.csv").read_text(encoding="utf-8") for name in found
    }
    assert len(statistics) == 1
    different = {
        key
        for key in found["panel"]["parameters"] | found["command"]["parameters"]
        if found["panel"]["parameters"].get(key) != found["command"]["parameters"].get(key)
    }
    # what the file said of its grid is in the volumes by now
    assert different <= {"grid", "field_mm", "orientation", "unknown_columns"}
    values = {(m["region"], m["measure"]): m for m in found["panel"]["measurements"]}
    assert "men of 40 years" in values["lungs", "xe_rbc_m_z"]["method"]
    assert "Haemoglobin" not in values["lungs", "xe_rbc_gas"]["reason"]


@pytest.mark.parametrize("pixel_mm", [None, FIELD_MM / MATRIX / 10])
def test_without_a_field_of_view_both_readings_are_said(
    desktop, panel, at_once, errors, xenon, tmp_path, pixel_mm
):
    """Pixels a hundredth or a tenth of their size."""
    folder = write_pipeline_folder(
        xenon, tmp_path / "examination", statistics=False, pixel_mm=pixel_mm
    )
    for path in (folder / "gx").glob("rbc.nii"):
        path.unlink()  # no statistics, no ratio
    before = scene_nodes()
    load(desktop, panel, folder)
    (error,) = errors
    assert "its pixel sizes of 0." in error
    assert "its matrix of 1 x 1 x 1" in error
    assert scene_nodes() == before
    assert set(chosen(panel).values()) == {None}
    assert panel.ui.xenonReadLabel.text == ""

    for spin in (panel.ui.fieldX, panel.ui.fieldY, panel.ui.fieldZ):
        spin.value = FIELD_MM
    panel.ui.fieldOrientation.currentText = "axial"
    load(desktop, panel, folder)
    assert len(errors) == 1
    grid = mrml.geometry_from_node(panel.parameters.xenonMembraneGas)
    assert grid.same_as(grid_of_field((MATRIX,) * 3, (FIELD_MM,) * 3, "axial"))
    words = panel.ui.xenonReadLabel.text
    assert "the field of view above, 400 × 400 × 400 mm" in words
    assert words.endswith("missing: RBC:gas, statistics.")


def test_what_a_folder_lacks_is_not_taken_from_an_earlier_one(
    desktop, panel, at_once, errors, xenon, tmp_path
):
    load(desktop, panel, write_pipeline_folder(xenon, tmp_path / "first"))
    first = chosen(panel)
    second = write_pipeline_folder(xenon, tmp_path / "second")
    (second / "gx" / "membrane2gas.nii").unlink()
    (second / "gx" / "s_stats.csv").write_text(
        "fov,fa_gas,fa_dis,te90,age\n40,0.5,20,470,61\n", encoding="utf-8"
    )
    load(desktop, panel, second)
    assert errors == []
    nodes = chosen(panel)
    assert nodes.pop("membrane_gas") is None
    for key, node in nodes.items():
        assert node is not first[key]
        assert node.GetName() != first[key].GetName()
    assert panel.ui.xenonReadLabel.text.endswith("missing: membrane:gas, sex.")
    assert panel.parameters.referenceSet == "208"  # the second one does not say its frequency


def test_a_bad_folder_is_one_message(desktop, panel, at_once, errors, xenon, tmp_path):
    before = scene_nodes()
    empty, damaged = tmp_path / "empty", write_pipeline_folder(xenon, tmp_path / "damaged")
    empty.mkdir()
    (damaged / "gx" / "membrane2gas.nii").write_bytes(b"nothing")
    colours = tmp_path / "colours"
    colours.mkdir()
    write_nifti(xenon.mask.astype(np.float32), colours / "mask_reg.nii", pixel_mm=8.0)
    rgb = np.zeros((*xenon.mask.shape, 3), np.uint8)
    rgb[xenon.mask] = (0, 255, 0)
    write_nifti(rgb, colours / "rbc2gas_rgb.nii", rgb=True)
    for spin in (panel.ui.fieldX, panel.ui.fieldY, panel.ui.fieldZ):
        spin.value = FIELD_MM
    for folder, words in (
        (empty, "no output of the pipeline"),
        (tmp_path / "gone", "there is no folder"),
        (damaged, "membrane2gas.nii"),
        (colours, "colour image only"),
    ):
        load(desktop, panel, folder)
        assert len(errors) == 1, errors
        assert words in errors.pop()
    panel.ui.fieldY.value = 0.0
    load(desktop, panel, write_pipeline_folder(xenon, tmp_path / "good"))
    assert "three extents in mm" in errors.pop()
    panel.ui.xenonFolder.currentPath = ""
    panel.ui.xenonFolderButton.click()
    assert "Choose the output folder" in errors.pop()
    assert errors == []
    assert scene_nodes() == before
    assert set(chosen(panel).values()) == {None}


def test_reading_ends_when_the_reader_or_the_scene_says_so(desktop, panel, errors, xenon, tmp_path):
    folder = write_pipeline_folder(xenon, tmp_path / "examination")
    for stop in (panel.ui.xenonFolderButton.click, desktop.close_scene):
        panel.ui.xenonFolder.currentPath = str(folder)
        panel.ui.xenonFolderButton.click()
        job = panel.pipeline.job
        stop()
        desktop.wait(lambda: job.ended, LOADED_S)  # noqa: B023
        assert panel.pipeline.job is None
        assert set(chosen(panel).values()) == {None}
        assert panel.ui.xenonReadLabel.text == ""
    assert errors == []


def test_the_folder_is_offered_again(desktop, panel, at_once, xenon, tmp_path):
    folder = write_pipeline_folder(xenon, tmp_path / "examination")
    load(desktop, panel, folder)
    panel = desktop.reload("CTVQ")
    assert Path(panel.ui.xenonFolder.currentPath) == folder


@pytest.mark.real
@pytest.mark.parametrize("broken", [False, True])
def test_the_public_digital_phantom(desktop, panel, at_once, errors, real_data, tmp_path, broken):
    """As a folder of the pipeline would hold it: with its headers, and with those it would get."""
    folder = tmp_path / "gx"
    folder.mkdir()
    names = {"mask_reg": "phantom_129Xe_mask", "gas_highreso": "phantom_129Xe_N4"}
    scans = {
        name: read_xenon_map(real_data / "xenon_phantom" / f"{source}.nii.gz")
        for name, source in names.items()
    }
    grid = scans["mask_reg"].volume.geometry
    for name, source in names.items():
        if broken:
            array = np.asarray(scans[name].volume.array, np.float32)
            write_nifti(array, folder / f"{name}.nii", pixel_mm=0.02)
        else:
            path = real_data / "xenon_phantom" / f"{source}.nii.gz"
            (folder / f"{name}.nii.gz").write_bytes(path.read_bytes())
    if broken:
        extent = [
            size * count for size, count in zip(grid.spacing_ijk_mm, grid.shape[::-1], strict=True)
        ]
        for axis, size in zip("XYZ", extent, strict=True):
            getattr(panel.ui, f"field{axis}").value = size
    load(desktop, panel, tmp_path)
    assert errors == []
    nodes = chosen(panel)
    volume = mrml.volume_from_node(nodes["ventilation"], "1")
    np.testing.assert_array_equal(volume.array, scans["gas_highreso"].volume.array)
    if broken:
        placed = Placement(field_mm=tuple(extent))
        grid = read_xenon_map(folder / "mask_reg.nii", placed).volume.geometry
    assert volume.geometry.same_as(grid)
    mask = np.asarray(scans["mask_reg"].volume.array) >= 0.5
    assert (mrml.segment_mask(nodes["lungs"], "lungs", grid) == mask).all()
    assert panel.ui.xenonReadLabel.text.endswith("missing: RBC:gas, membrane:gas, statistics.")
