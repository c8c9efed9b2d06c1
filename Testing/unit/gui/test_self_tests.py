"""The self-tests that run in the application, and the sample data they use."""

import pytest


@pytest.fixture
def small_samples(modules):
    """Sample data on a coarse grid."""

    def load(name):
        (module,) = modules(name)
        from lungperfusion_gui import samples

        samples.SPACING_MM, samples.FIRST_PASS_SPACING_MM = (5.0, 5.0, 4.0), 5.0
        return module

    yield load
    from lungperfusion_gui import samples

    samples.SPACING_MM, samples.FIRST_PASS_SPACING_MM = (2.0, 2.0, 2.0), 3.0


def test_self_test_passes(small_samples, desktop):
    test = small_samples("PerfusionIPv").PerfusionIPvTest()
    test.delayDisplay = lambda *words: None
    test.runTest()


def test_samples_are_offered_with_thumbnails(desktop, modules):
    from pathlib import Path

    import slicer

    modules()
    slicer.modules.LungPerfusionLibInstance._registerAtStartup()
    sources = slicer.modules.sampleDataSources["LungPerfusion"]
    from lungperfusion_gui import samples

    assert {source.sampleName for source in sources} == set(samples.SAMPLES.values())
    for source in sources:
        assert Path(source.thumbnailFileName).exists()


def test_a_sample_is_made_beside_the_application_and_can_be_cancelled(small_samples, desktop):
    import slicer

    small_samples("VesselBV")
    from lungperfusion_gui import samples

    sample = samples.SampleMaker("LungPerfusionChest")
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == 0
    folder = sample._folder
    sample.job.cancel()
    desktop.wait(lambda: sample.job is None, 60.0)
    assert sample.nodes is None
    assert not folder.exists()
    assert not samples.SampleMaker.running


def test_layout_is_known_after_the_start(desktop, modules):
    import slicer

    modules()
    slicer.modules.LungPerfusionLibInstance._registerAtStartup()
    from lungperfusion_gui import overlay

    layouts = slicer.app.layoutManager().layoutLogic().GetLayoutNode()
    assert layouts.IsLayoutDescription(overlay.LAYOUT)


@pytest.mark.parametrize("name", ["PerfusionIPv", "CTVQ", "VesselBV"])
def test_module_says_what_it_is(desktop, modules, name):
    import slicer

    modules(name)
    module = getattr(slicer.modules, name.lower())
    assert module.title
    assert "Research software" in module.helpText
    assert module.contributors == ("SlicerLungPerfusion contributors",)
    assert module.dependencies == ("LungPerfusionLib",)
    assert not module.hidden
    assert slicer.modules.lungperfusionlib.hidden


def test_library_says_what_it_is(desktop, modules):
    """Slicer fills in texts of its own where a module sets none."""
    import slicer

    modules()
    library = slicer.modules.lungperfusionlib
    assert library.title == "Lung Perfusion Library"
    assert library.contributors == ("SlicerLungPerfusion contributors",)
    assert "Research software" in library.helpText
    assert "Apache License" in library.acknowledgementText
    assert library.categories
