"""The stand-in behaves as the desktop did when its behaviour was recorded."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

TESTING = Path(__file__).resolve().parents[2]
CONTRACT = TESTING / "contract"
TOPICS = sorted(
    {
        probe["topic"]
        for probe in json.loads((CONTRACT / "probes.json").read_text(encoding="utf-8"))["probes"]
    }
)


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Replay all probes in a process of their own."""
    path = tmp_path_factory.mktemp("contract") / "report.json"
    done = subprocess.run(
        [sys.executable, str(CONTRACT / "replay.py"), "--report", str(path)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    assert path.exists(), done.stderr[-3000:]
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def probes():
    recorded = json.loads((CONTRACT / "probes.json").read_text(encoding="utf-8"))["probes"]
    return {probe["id"]: probe for probe in recorded}


@pytest.fixture(scope="module")
def accepted():
    groups = json.loads((CONTRACT / "accepted.json").read_text(encoding="utf-8"))
    return {name: reason for reason, names in groups.items() for name in names}


@pytest.mark.parametrize("topic", TOPICS)
def test_topic_differs_only_where_accepted(report, probes, accepted, topic):
    unexpected = {
        name: what
        for name, what in report["differences"].items()
        if probes[name]["topic"] == topic and name not in accepted
    }
    assert not unexpected


def test_accepted_differences_are_differences(report, probes, accepted):
    assert set(accepted) <= set(probes)
    assert not [name for name in accepted if name not in report["differences"]]


def test_most_of_the_contract_agrees(report):
    assert report["agree"] >= 0.985 * report["probes"]


ONLY_IN_ACCEPTED = {
    "signals.QComboBox": ("currentIndexChanged(QString)", "activated(QString)"),
    "signals.QSpinBox": ("valueChanged(QString)",),
    "signals.QDoubleSpinBox": ("valueChanged(QString)",),
    "signals.QButtonGroup": ("QButtonGroup",),
    "signals.QProcess": ("QProcess",),
    "conv.names_present": ("QRegExp", "QDesktopWidget"),
    "list.basic": ("QListWidget",),
    "ctk.coordinates": ("ctkCoordinatesWidget",),
    "stats.segment": ("SegmentStatistics",),
    "vr.presets": ("GetPresetByName", "volumerendering"),
    "slm.logic_not_singleton": ("isSingletonParameterNode",),
}
"""What a module would have to use for an accepted difference to matter to it."""


def test_modules_use_nothing_in_which_the_stand_in_differs(accepted):
    assert set(ONLY_IN_ACCEPTED) == set(accepted)
    root = TESTING.parent
    library = root / "LungPerfusionLib"
    files = [*(library / "lungperfusion" / "mrml").glob("*.py")]
    files += (library / "lungperfusion_gui").glob("*.py")
    for name in ("LungPerfusionLib", "PerfusionIPv", "CTVQ", "VesselBV"):
        files += [root / name / f"{name}.py", *(root / name).rglob("*.ui")]
    assert len(files) > 20
    for path in files:
        text = path.read_text(encoding="utf-8")
        used = [word for words in ONLY_IN_ACCEPTED.values() for word in words if word in text]
        assert not used, path.name


def test_recording_writes_the_file_as_it_is(desktop, tmp_path, monkeypatch):
    """``record.py`` on the stand-in: same format, same probes, the versions of this environment."""
    monkeypatch.syspath_prepend(str(CONTRACT))
    import record
    import replay

    before = (CONTRACT / "probes.json").read_text(encoding="utf-8")
    monkeypatch.setattr(replay, "HERE", tmp_path)
    record.write(json.loads(before)["probes"])
    after = (tmp_path / "probes.json").read_text(encoding="utf-8")
    assert after.splitlines()[3:] == before.splitlines()[3:]
    assert json.loads(after)["recorded_in"]["application"] == "Slicer 5.12.3"
    probe = {"id": "x", "topic": "x", "code": ["result = (1, qt.QLabel('a'))"]}
    outcome = replay.run(probe, 0, record.Desktop)
    assert outcome == {"value": {"tuple": [1, {"qt": "QLabel"}]}}
