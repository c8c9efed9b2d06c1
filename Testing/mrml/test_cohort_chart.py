"""The wide table of a cohort, loaded as Slicer does, can be drawn."""

from __future__ import annotations

import csv

import pytest

from lungperfusion.batch.cohort import SCHEMA_COLUMNS, write_cohort

slicer = pytest.importorskip("slicer", reason="needs slicer-core")

WORDS = ("case", "status", "cautions")
COLUMNS = (*WORDS, "lungs_mld_hu.lungs", "ipv_ipv_hu_l.lungs")


def write(path, rows):
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream, lineterminator="\n").writerows(rows)


def loaded(scene, path):
    node = scene.AddNewNodeByClass("vtkMRMLTableNode", "cohort")
    storage = slicer.vtkMRMLTableStorageNode()
    scene.AddNode(storage)
    storage.SetFileName(str(path))
    assert storage.ReadData(node) == 1
    return node


@pytest.fixture
def table(tmp_path):
    rows = [COLUMNS, ("A", "done", "", "-800.5", "180"), ("B", "done", "", "NaN", "210")]
    write(tmp_path / "cohort_wide.csv", rows)
    return tmp_path / "cohort_wide.csv"


def test_numbers_come_as_numbers_and_fill_a_chart(table):
    kinds = [(name, "string" if name in WORDS else "double") for name in COLUMNS]
    write(table.with_suffix(".schema.csv"), [SCHEMA_COLUMNS, *kinds])
    scene = slicer.vtkMRMLScene()
    node = loaded(scene, table)
    column = node.GetTable().GetColumnByName("lungs_mld_hu.lungs")
    assert column.IsNumeric()
    assert column.GetValue(0) == -800.5

    series = scene.AddNewNodeByClass("vtkMRMLPlotSeriesNode", "density")
    series.SetAndObserveTableNodeID(node.GetID())
    series.SetXColumnName("lungs_mld_hu.lungs")
    series.SetYColumnName("ipv_ipv_hu_l.lungs")
    series.SetPlotType(slicer.vtkMRMLPlotSeriesNode.PlotTypeScatter)
    chart = scene.AddNewNodeByClass("vtkMRMLPlotChartNode", "chart")
    chart.AddAndObservePlotSeriesNodeID(series.GetID())
    assert chart.GetNumberOfPlotSeriesNodes() == 1
    assert series.GetTableNode().GetTable().GetColumnByName("ipv_ipv_hu_l.lungs").IsNumeric()


def test_without_the_schema_they_would_be_words(table):
    node = loaded(slicer.vtkMRMLScene(), table)
    assert not node.GetTable().GetColumnByName("lungs_mld_hu.lungs").IsNumeric()


def test_a_batch_writes_the_schema(tmp_path):
    write_cohort(tmp_path, (), {})
    lines = (tmp_path / "cohort_wide.schema.csv").read_text(encoding="utf-8").splitlines()
    assert lines == ["columnName,type", *(f"{name},string" for name in WORDS)]
