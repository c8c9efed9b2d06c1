"""Other extensions that segment lungs are offered where they are installed, and only there."""


def test_hidden_without_them(desktop, modules):
    modules("VesselBV")
    panel = desktop.select("VesselBV")
    assert not panel.ui.segmenterButton.isVisibleTo(panel.parent)


def test_each_installed_one_is_an_entry(desktop, modules, monkeypatch):
    import slicer

    monkeypatch.setattr(slicer.modules, "totalsegmentator", object(), raising=False)
    monkeypatch.setattr(slicer.modules, "lungctsegmenter", object(), raising=False)
    chosen = []
    monkeypatch.setattr(slicer.util, "selectModule", chosen.append)
    modules("VesselBV")
    panel = desktop.widget("VesselBV")
    button = panel.ui.segmenterButton
    assert button.isVisibleTo(panel.parent)
    entries = [action for action in button.menu().actions() if action.text]
    assert [entry.text for entry in entries] == ["Open TotalSegmentator", "Open LungCTSegmenter"]
    entries[1].trigger()
    assert chosen == ["LungCTSegmenter"]
