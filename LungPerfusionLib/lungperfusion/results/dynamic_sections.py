"""Pictures and tables of dynamic perfusion for the report."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lungperfusion.dynamic.findings import DEFICIT_BELOW, EXCESS_ABOVE, Findings, finding_labelmap
from lungperfusion.dynamic.first_pass import FirstPass
from lungperfusion.dynamic.inputs import WORDS, InputCurve
from lungperfusion.dynamic.maps import FlowMaps
from lungperfusion.dynamic.region_flow import RegionFlows
from lungperfusion.measurement import Measurement
from lungperfusion.results.charts import Line, time_curves
from lungperfusion.results.colours import (
    BLOOD_VOLUME,
    PERFUSION_INDEX,
    PULMONARY_FLOW,
    TRANSIT_TIME,
    Colours,
)
from lungperfusion.results.figures import (
    MEDIASTINUM_WINDOW,
    Labels,
    Overlay,
    figure_html,
    montage,
)
from lungperfusion.results.report import format_value, table_html
from lungperfusion.results.section import Section
from lungperfusion.terms import LOBES, LUNGS, TISSUES, Region, title
from lungperfusion.volume import Labelmap, Volume

CINE_FRAMES = 6
SLICES = 3


def dynamic_sections(
    ct: Volume,
    first_pass: FirstPass,
    flows: RegionFlows,
    maps: FlowMaps,
    findings: tuple[Findings, ...],
) -> tuple[Section, ...]:
    """Draw maps, curves, inputs and the passing bolus, and tabulate regions and tissue.

    Parameters
    ----------
    ct
        Mean of the frames in the place of the reference, HU.
    first_pass
        Frames, inputs and regions.
    flows
        Values of the regions as far as the gates leave them, and their curves.
    maps
        Maps on the working grid.
    findings
        Deficits and excess.

    """
    return (
        Section(title="Maps", html=_maps(ct, first_pass, flows, maps, findings), place="top"),
        Section(title="Time curves", html=_curves(first_pass, flows), place="first_page"),
        Section(title="Regions and tissue", html=_tables(flows)),
        Section(title="Passage of the bolus", html=_cine(first_pass) + _inputs(ct, first_pass)),
    )


def _maps(
    ct: Volume,
    first_pass: FirstPass,
    flows: RegionFlows,
    maps: FlowMaps,
    findings: tuple[Findings, ...],
) -> str:
    lungs = first_pass.regions.partitions[0]
    marked = finding_labelmap(findings, "100 mL", first_pass.frames.geometry)

    def row(overlay: Overlay | None, labels: Labels | None = None) -> bytes:
        return montage(
            ct, count=SLICES, columns=SLICES, overlay=overlay, labels=labels, around=lungs
        )

    out = figure_html(
        row(None, Labels(labelmap=marked)),
        alt="Axial CT slices with deficits and excess of perfusion outlined",
        caption="Slices from head to feet. Outlined: blood volume per 100 mL of lung below "
        f"{100 * DEFICIT_BELOW:g} % and above {100 * EXCESS_ABOVE:g} % of the median of the "
        "patient's lungs.",
    )
    shown: tuple[tuple[str, Colours, str, str], ...] = (
        ("perfusion_index", PERFUSION_INDEX, "Index", "Perfusion index: pulmonary share of flow"),
        ("pulmonary_flow", PULMONARY_FLOW, "Flow", "Pulmonary flow"),
        ("blood_volume", BLOOD_VOLUME, "Volume", "Blood volume"),
        ("mtt", TRANSIT_TIME, "Transit", "Mean transit time"),
    )
    for name, colours, short, words in shown:
        if name in maps.volumes:
            overlay = Overlay(volume=maps.volumes[name], colours=colours, title=short, opacity=0.8)
            out += figure_html(
                row(overlay),
                alt=f"{words} in colours over the same slices",
                caption=f"{words}, the same slices; vessels and bronchi are left grey."
                + _withheld(flows, MEASURES_OF_MAPS[name]),
            )
    return out


MEASURES_OF_MAPS = {
    "perfusion_index": "perfusion_index",
    "pulmonary_flow": "pulmonary_flow",
    "blood_volume": "dynamic_blood_volume",
    "mtt": "dynamic_mtt",
}


def _withheld(flows: RegionFlows, measure: str) -> str:
    """Say that no region has the measure of a map, and why; empty where one has."""
    rows = [row for row in flows.measurements if row.measure == measure]
    if not rows or any(row.status != "missing" for row in rows):
        return ""
    return f" Values are withheld: {rows[0].reason}."


def _curves(first_pass: FirstPass, flows: RegionFlows) -> str:
    inputs = first_pass.inputs
    lines = [Line(name=WORDS[curve.place].capitalize(), values=curve.hu) for curve in inputs.found]
    marks = {"arrival": inputs.artery.arrival_s}
    if isinstance(inputs.atrium, InputCurve):
        marks["phase split"] = inputs.atrium.peak_s
    marks["end of pass"] = inputs.first_pass_end_s
    first = figure_html(
        time_curves(first_pass.times_s, lines, label="Enhancement (HU)", marks=marks),
        alt="Enhancement of pulmonary trunk, left atrium and aorta over time",
        caption="Inputs. The phases are split at the peak of the left atrium.",
        width_percent=49,
    )
    by_region = {curve.region: curve for curve in flows.curves}
    names: Sequence[Region] = [r for r in LOBES if r in by_region] or list(LUNGS)
    tissue = [
        Line(name=title(region), values=by_region[region].hu, fitted=by_region[region].fitted_hu)
        for region in names
        if region in by_region
    ]
    if not tissue:
        return first
    second = figure_html(
        time_curves(first_pass.times_s, tissue, label="Enhancement (HU)"),
        alt="Enhancement of lung regions over time with the fit of two inputs",
        caption="Lung between the vessels: points measured, lines fitted by two inputs.",
        width_percent=49,
    )
    return first + second


_COLUMNS = (
    ("dynamic_blood_volume", "Blood volume, mL/100 mL"),
    ("pulmonary_flow", "Pulmonary flow, fit"),
    ("pulmonary_flow_slope", "slope"),
    ("pulmonary_flow_svd", "deconvolution"),
    ("bronchial_flow", "Bronchial flow, fit"),
    ("bronchial_flow_slope", "slope"),
    ("perfusion_index", "Perfusion index %, fit"),
    ("perfusion_index_slope", "slope"),
    ("dynamic_mtt", "Transit time, s"),
)
_PER_MASS = (
    ("dynamic_blood_volume_per_mass", "Blood volume, mL/100 g"),
    ("pulmonary_flow_per_mass", "Pulmonary flow, mL/min/100 g"),
    ("bronchial_flow_per_mass", "Bronchial flow, mL/min/100 g"),
    ("flow_deficit_share", "Deficit % per 100 mL"),
    ("flow_deficit_share_per_mass", "per 100 g"),
    ("flow_excess_share", "Excess % per 100 mL"),
    ("flow_excess_share_per_mass", "per 100 g"),
)


def _tables(flows: RegionFlows) -> str:
    cells = {(row.region, row.measure): row for row in flows.measurements}
    regions = [
        region
        for region in (Region.LUNGS, *LUNGS, *LOBES, *TISSUES)
        if any(curve.region == region for curve in flows.curves)
    ]
    out = ""
    for columns, caption in (
        (
            _COLUMNS,
            "Flows in mL/min per 100 mL of lung with 95 % intervals. By slope bronchial flow is "
            "missing (-) where the curve never rises after the phase split.",
        ),
        (_PER_MASS[:3], "The same per 100 g of tissue."),
    ):
        rows = [
            (title(region), *(_cell(cells, region, name) for name, _ in columns))
            for region in regions
        ]
        head = ("Region", *(words for _, words in columns))
        out += table_html(head, rows, caption=caption, numeric=range(1, len(head)))
    return out


def _cell(cells: dict[tuple[str, str], Measurement], region: Region, name: str) -> str:
    entry = cells.get((region, name))
    if entry is None or entry.status == "missing":
        return "-"
    text = format_value(entry.value, entry.unit)
    low, high = cells.get((region, f"{name}_low")), cells.get((region, f"{name}_high"))
    if low is None or high is None or "missing" in (low.status, high.status):
        return text
    return f"{text} ({format_value(low.value, low.unit)}-{format_value(high.value, high.unit)})"


def _cine(first_pass: FirstPass) -> str:
    """Frames between arrival and the end of the pass, at one level."""
    times = first_pass.times_s
    first = max(0, int(np.searchsorted(times, first_pass.inputs.artery.arrival_s)) - 1)
    last = int(np.searchsorted(times, first_pass.inputs.first_pass_end_s))
    chosen = np.unique(np.linspace(first, min(last, len(times) - 1), CINE_FRAMES).astype(int))
    lungs = first_pass.regions.partitions[0]
    out = ""
    for number in chosen:
        frame = Volume(first_pass.frames.array[number], first_pass.frames.geometry, "HU")
        picture = montage(
            frame, count=1, columns=1, window=MEDIASTINUM_WINDOW, around=lungs, width_in=2.4
        )
        out += figure_html(
            picture,
            alt=f"Axial slice at {times[number]:.1f} s",
            caption=f"{times[number]:.1f} s",
            width_percent=32,
        )
    return out


def _inputs(ct: Volume, first_pass: FirstPass) -> str:
    array = np.zeros(first_pass.frames.geometry.shape, np.uint8)
    names = {}
    for value, curve in enumerate(first_pass.inputs.found, start=1):
        array[curve.mask] = value
        names[value] = curve.place
    labels = Labels(labelmap=Labelmap(array, first_pass.frames.geometry, names), fill=0.5)
    picture = montage(
        ct, count=4, columns=4, window=MEDIASTINUM_WINDOW, labels=labels, margin_mm=60.0
    )
    return figure_html(
        picture,
        alt="Axial slices with the places where the inputs were measured",
        caption="Where the inputs were measured; points placed by hand replace them.",
    )
