"""Engines of other programs in the panel: offered, explained where missing, passed on."""

import pytest
from gui_support import drained


@pytest.fixture
def panel(desktop, modules, volumes, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    modules("VesselBV")
    panel = desktop.select("VesselBV")
    panel.parameters.ct = volumes[0]
    return panel


def engine_words(panel, tmp_path):
    words = drained(panel.logic.request(panel.parameters, tmp_path))
    return [words[n + 1] for n, word in enumerate(words) if word == "--engine"]


def test_own_lungs_need_no_engine(panel, tmp_path):
    assert panel.ui.applyButton.enabled
    assert engine_words(panel, tmp_path) == []


def test_engine_that_is_not_there_blocks_apply_and_says_why(panel):
    panel.ui.lungEngine.currentText = "lungmask"
    assert not panel.ui.applyButton.enabled
    assert "no program lungmask was found" in panel.ui.applyButton.toolTip


def test_engines_are_passed_on_by_task(panel, tmp_path):
    panel.ui.lungEngine.currentText = "lungmask"
    panel.ui.lobeEngine.currentText = "totalsegmentator"
    assert engine_words(panel, tmp_path) == ["lungs=lungmask", "lobes=totalsegmentator"]


def test_other_engine_makes_results_outdated(panel):
    before = panel.logic.settings(panel.parameters)
    panel.ui.lobeEngine.currentText = "lungmask"
    assert panel.logic.settings(panel.parameters) != before
