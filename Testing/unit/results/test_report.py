"""The report as a document: complete, self-contained, honest about what is missing."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from lungperfusion.errors import CancelledError
from lungperfusion.measurement import measured, missing
from lungperfusion.quality import Gate
from lungperfusion.results.analysis import Analysis, Table
from lungperfusion.results.lung_sections import lung_sections
from lungperfusion.results.report import format_value, render_report, table_html
from lungperfusion.results.section import Section
from lungperfusion.volume import Geometry, Labelmap, Volume

VOID = {"meta", "img", "br", "input", "link", "hr"}


class Page(HTMLParser):
    """Checks nesting and collects elements, attributes and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        assert self.stack == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.stack.pop() == tag

    def handle_data(self, data):
        if "style" not in self.stack:
            self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


@pytest.fixture(scope="module")
def report(analysis, provenance) -> str:
    return render_report([analysis], case="case-1", provenance=provenance)


@pytest.fixture(scope="module")
def page(report) -> Page:
    return Page(report)


def test_nothing_comes_from_elsewhere(report, page):
    for name, attributes in page.elements:
        for key in ("src", "href", "action", "data", "srcset"):
            value = attributes.get(key)
            assert value is None or value.startswith("data:"), (name, key)
    assert not page.all("script")
    assert "url(" not in report
    assert "@import" not in report
    policy = next(a["content"] for a in page.all("meta") if "http-equiv" in a)
    assert policy.startswith("default-src 'none'")


def test_says_what_a_reader_must_know(page):
    for words in (
        "Research use only",
        "case-1",
        "LungPerfusion 1.2.3",
        "scan <1>.nrrd",
        "0123456789ab",
        "Total lung volume",
        "5.06 ± 1.35",
        "−839.6 ± 21.8",
        "mean ± 2 SD",
        "Spacing is uneven & was <resampled>.",
        "Ground glass from hu",
        "not set",
    ):
        assert words in page.text, words


def test_verdicts_are_words_and_icons_the_urgent_first(page, report):
    order = [page.text.index(word) for word in ("Failed", "Warning.", "Not checked", "Passed")]
    assert order == sorted(order)
    assert "1 of 4 passed" in page.text
    assert report.count('<svg class="icon"') == 4


def test_is_accessible(page):
    assert page.all("html")[0]["lang"] == "en"
    for image in page.all("img"):
        assert len(image["alt"]) > 20
    for header in page.all("th"):
        assert header["scope"] in ("row", "col")
    for drawing in page.all("svg"):
        assert drawing["aria-hidden"] == "true"
    levels = [int(name[1]) for name, _ in page.elements if re.fullmatch("h[1-6]", name)]
    assert levels[0] == 1
    assert max(np.diff(levels)) <= 1


def test_missing_values_show_their_reason_and_never_zero(provenance):
    results = (
        missing("lungs", "tlv", "no lung was found <here>"),
        measured("lungs", "mld", -850.0, "m", caution="low dose"),
        missing("left_lung", "mld", "no lung was found <here>"),
    )
    text = render_report(
        Analysis(module="lungs", measurements=results), case="c", provenance=provenance
    )
    assert text.count("no lung was found &lt;here&gt;") == 1
    assert text.count("n/a<sup>1</sup>") == 2
    assert "−850.0<sup>2</sup>" in text
    assert "Caution: low dose" in text
    assert "nothing to compare" in text
    assert not re.search(r">\s*(nan|NaN|0|0\.0+)\s*<", text)


def test_a_value_that_was_never_asked_for_is_not_blank(provenance):
    results = (measured("lungs", "tlv", 5.0, ""), measured("left_lung", "lung_mass", 400, ""))
    text = render_report(
        Analysis(module="lungs", measurements=results), case="c", provenance=provenance
    )
    assert text.count('<span class="na">–</span>') == 2
    assert text.count("– not given for this region.") == 1


def test_absent_lobes_are_one_sentence_not_a_table_of_gaps(page):
    assert "Not available: no fissure visible." in page.text
    assert "Left upper lobe" not in page.text
    assert "Left upper zone" in page.text


def test_references_of_the_measures_are_listed_in_full(report):
    listed = report[report.index("<h2>References</h2>") :]
    assert "Comparison of computed density and macroscopic morphometry" in listed
    assert "defects on dual-energy computed tomography" in listed  # the iodine perfusion letter
    assert "Am J Respir Crit Care Med 152:653" in listed
    assert "Morphometry of the human lung" not in listed  # not behind any value of this case


def test_findings_are_listed_up_to_a_limit(page):
    assert "5 more in opacities.csv" in page.text
    assert "None found" in page.text


def test_findings_name_regions_in_words_and_gaps_by_a_dash(provenance):
    rows = ({"fissure": "left_oblique_fissure", "completeness_percent": float("nan")},)
    analysis = Analysis(
        module="lobes",
        measurements=(),
        tables={"fissures": Table(("fissure", "completeness_percent"), rows)},
    )
    page = Page(render_report(analysis, case="one", provenance=provenance))
    assert "Left oblique fissure" in page.text
    assert "left_oblique_fissure" not in page.text
    assert "nan" not in page.text.split("Left oblique fissure")[1][:20]


def test_text_from_outside_cannot_become_markup(provenance):
    evil = "<img src=x onerror=alert(1)>\"'"
    analysis = Analysis(
        module=evil,
        measurements=(measured("lungs", "tlv", 5.0, evil, caution=evil),),
        warnings=(evil,),
        parameters={evil: [evil]},
        tables={evil: Table((evil,), ({evil: evil},))},
    )
    stained = {
        **provenance,
        "version": evil,
        "inputs": [{"role": evil, "name": evil, "sha256": evil}],
        "identifiers": {evil: evil},
        "libraries": {evil: evil},
    }
    parsed = Page(render_report(analysis, case=evil, provenance=stained))
    assert parsed.all("img") == []
    assert not any("onerror" in attributes for _, attributes in parsed.elements)
    assert parsed.text.count("onerror") >= 9


def test_several_analyses_share_one_report(analysis, provenance):
    second = Analysis(
        module="ipv",
        measurements=(measured("lungs", "lung_mass", 900.0, ""),),
        sections=(Section(title="Iodine map", html="<p>map</p>"),),
    )
    parsed = Page(render_report([analysis, second], case="c", provenance=provenance))
    assert "Lung volume and density · Iodine perfusion" in parsed.text
    assert "Iodine map" in parsed.text
    assert len(parsed.all("h1")) == 1
    assert parsed.text.count("Software and inputs") == 1


def test_sections_stand_where_they_belong(analysis, provenance):
    sections = tuple(
        Section(title=f"T-{place}", html=f"<p>B-{place}</p>", place=place)
        for place in ("details", "first_page", "top")
    )
    text = render_report(replace(analysis, sections=sections), case="c", provenance=provenance)
    marks = ["B-top", "<h2>Values</h2>", "T-first_page", "Quality checks", "T-details", "Settings"]
    places = [text.index(mark) for mark in marks]
    assert places == sorted(places)
    assert "T-top" not in text


def test_position_of_values_beyond_the_bar(provenance):
    results = (measured("lungs", "mld", -600.0, ""), measured("lungs", "tlv", 5.0, ""))
    text = render_report(
        Analysis(module="lungs", measurements=results), case="c", provenance=provenance
    )
    assert "+11.0" in text
    assert ">above</span>" in text
    assert ">within</span>" in text
    assert text.count("<circle") == 1  # the other is an arrow at the end


def test_same_input_same_text(analysis, provenance, report):
    assert render_report(analysis, case="case-1", provenance=provenance) == report


def test_no_word_of_diagnosis(page):
    own, _, others = page.text.partition("References")
    words = own.lower() + others[others.index("Software and inputs") :].lower()
    for word in ("emphysema", "fibrosis", "embolism", "abnormal", "disease", "normal lung"):
        assert word not in words, word


def test_identifiers_are_shown_only_when_kept(analysis, provenance, report):
    assert "PatientID" not in report
    kept = {**provenance, "identifiers": {"PatientID": "ABC"}}
    assert "PatientID: ABC" in render_report(analysis, case="c", provenance=kept)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (5.0, "L", "5.00"),
        (-950.0, "HU", "−950.0"),
        (250.4, "mL", "250"),
        (25.04, "mL", "25.0"),
        (0.0, "%", "0.0"),
        (0.5, "%", "0.50"),
        (0.004, "%", "< 0.01"),
        (-0.004, "1", "> −0.01"),
        (1.22, "mg/mL", "1.22"),
        (182.84, "HU.L", "182.8"),
    ],
)
def test_numbers_have_the_digits_of_their_unit(value, unit, text):
    assert format_value(value, unit) == text


def test_tables_escape_and_align():
    text = table_html(["a<b", "n"], [["<x>", 1.5], ["y", None]], caption="<c>", numeric=[1])
    assert "&lt;x&gt;" in text
    assert "<caption>&lt;c&gt;</caption>" in text
    assert '<td class="n">1.5</td>' in text
    assert '<td class="n">not set</td>' in text
    Page(text)


def test_no_lung_no_pictures():
    geometry = Geometry.axial((3, 4, 5), (1, 1, 1))
    empty = Labelmap(np.zeros((3, 4, 5), np.uint8), geometry, {1: "left_lung", 2: "right_lung"})
    ct = Volume(np.zeros((3, 4, 5), np.int16), geometry, "HU")
    assert lung_sections(ct, empty, {}) == ()


def test_drawing_can_be_cancelled():
    geometry = Geometry.axial((3, 4, 5), (9, 9, 9))
    lungs = Labelmap(np.ones((3, 4, 5), np.uint8), geometry, {1: "left_lung"})

    def cancel(fraction, message):
        raise CancelledError

    ct = Volume(np.zeros((3, 4, 5), np.int16), geometry, "HU")
    with pytest.raises(CancelledError):
        lung_sections(ct, lungs, {}, progress=cancel)


def test_checks_of_one_scan_are_listed_once():
    shared = Gate(id="thickness", verdict="warn", message="Slices are thick.")
    own = Gate(id="folding", verdict="pass", message="The motion field did not fold.")
    first = Analysis(module="lungs", measurements=(), gates=(shared,))
    second = Analysis(module="ctvq", measurements=(), gates=(shared, own))

    page = render_report([first, second], case="p1", provenance={"version": "1"})

    assert page.count("Slices are thick.") == 1
    assert page.count("The motion field did not fold.") == 1
    assert "Quality checks: 1 of 2 passed" in page
    assert "1 of them are listed above." in page
