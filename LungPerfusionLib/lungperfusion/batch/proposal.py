"""A manifest proposed from the series of a DICOM tree; what is not sure is left open and said."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lungperfusion.batch.dicom_tree import Breath, Series, untraceable
from lungperfusion.io.stacking import MIN_SLICES
from lungperfusion.registry import COMMANDS, Command, Input
from lungperfusion.terms.xenon import MAPS

OPEN = "?"
"""Cell that a person has to fill; a batch refuses it."""

CHEST_MM = 150.0
"""Length along the patient below which a series is no whole chest."""
THIN_MM = 1.5
"""Thickness up to which density scores and small vessels can be measured well."""


@dataclass
class Proposal:
    """One line of the manifest."""

    case: str
    analysis: str
    cells: dict[str, Series | Path | str] = field(default_factory=dict)
    """Series, folder or text by column; `OPEN` where a person has to choose."""
    notes: list[str] = field(default_factory=list)

    @property
    def open(self) -> bool:
        """Whether anything is left open."""
        return OPEN in self.cells.values()


def propose(
    series: Sequence[Series], analyses: Sequence[str], folders: Sequence[Path] = ()
) -> list[Proposal]:
    """Propose what to run.

    Parameters
    ----------
    series
        As `read_tree` gives them; notes name them by their number in this list, from 1.
    analyses
        Names of the analyses to propose.
    folders
        Output of the open gas exchange pipeline.

    Returns
    -------
    list of Proposal
        By case.  An analysis without any suitable series gets no line.

    """
    numbers = {entry.uid: number for number, entry in enumerate(series, 1)}
    studies = dict.fromkeys(entry.study for entry in series)
    xenon = xenon_by_study(series, folders)
    lines: list[Proposal] = []
    for study in dict.fromkeys([*studies, *xenon]):
        own = [s for s in series if s.study == study and s.kind != "xenon"]
        chests = [s for s in own if s.length_mm >= CHEST_MM or s.kind == "dynamic"]
        work = _Study(f"case-{study}", [*chests, *xenon.get(study, ())], numbers)
        for name in analyses:
            lines += work.propose(COMMANDS[name])
    return lines


def xenon_by_study(
    series: Sequence[Series], folders: Sequence[Path]
) -> dict[str, list[Series | Path]]:
    """Xenon MRI by the study whose CT it is joined with, or by a name of its own.

    A series goes to the CT of its own study, else to the only study with CT of the same patient; a
    folder to the only study with CT in the nearest folder above it that holds any.
    """
    ct = [s for s in series if s.kind != "xenon" and s.path is not None]
    out: dict[str, list[Series | Path]] = {}
    for entry in (s for s in series if s.kind == "xenon"):
        studies = {s.study for s in ct if s.study == entry.study} or {
            s.study for s in ct if entry.patient and s.patient == entry.patient
        }
        home = studies.pop() if len(studies) == 1 else entry.study
        out.setdefault(home, []).append(entry)
    for folder in folders:
        beside = next(
            (near for above in folder.parents if (near := _studies_below(above, ct))), set()
        )
        home = beside.pop() if len(beside) == 1 else untraceable("folder " + folder.name)
        out.setdefault(home, []).append(folder)
    return out


def _studies_below(folder: Path, series: Sequence[Series]) -> set[str]:
    return {s.study for s in series if s.path is not None and s.path.is_relative_to(folder)}


def remarks(series: Sequence[Series], lines: Sequence[Proposal]) -> dict[str, str]:
    """Say for every series what it is proposed for, or why for nothing, by its UID."""
    uses: dict[str, list[str]] = {}
    for line in lines:
        for cell in line.cells.values():
            if isinstance(cell, Series):
                uses.setdefault(cell.uid, []).append(line.analysis)
    return {
        entry.uid: f"proposed for {', '.join(uses[entry.uid])}"
        if entry.uid in uses
        else f"not proposed: {_why_not(entry)}"
        for entry in series
    }


def _why_not(series: Series) -> str:
    if series.kind == "localizer":
        return "an overview image"
    if series.kind == "dynamic":
        return "one of the time points of a dynamic scan, or another dynamic scan suits as well"
    if series.length_mm < CHEST_MM and series.kind != "xenon":
        return f"it covers {series.length_mm:.0f} mm, a chest needs {CHEST_MM:.0f} mm"
    if series.path is None:
        return (
            "its files lie in several folders among those of other series: give their common "
            "folder with --series"
        )
    if series.kind == "xenon":
        return "its description names no map of gas transfer, or another series suits as well"
    if series.kind in ("virtual native", "monoenergetic", "reformatted"):
        return f"derived images ({series.kind})"
    if series.kind == "ct" and series.breath == "expiration":
        return "an expiratory scan without its inspiratory one"
    return "another series suits better or equally well, see the notes of the manifest"


class _Study:
    """Series of one visit."""

    def __init__(self, case: str, images: Sequence[Series | Path], numbers: dict[str, int]) -> None:
        self._case = case
        self._numbers = numbers
        self._folders = [folder for folder in images if isinstance(folder, Path)]
        self._readable = [s for s in images if isinstance(s, Series) and s.path is not None]
        self._pairs = list(_pairs(self._readable))
        of_pairs = {s.uid for low, high in self._pairs for s in (low, high)}
        self._plain = [s for s in self._readable if s.kind == "ct" and s.uid not in of_pairs]

    def propose(self, command: Command) -> Iterator[Proposal]:
        """One line with the first kind of images that the command takes and the visit has."""
        fill = {
            Input.CHEST_CT: self._fill_chest_ct,
            Input.FIRST_PASS: self._fill_first_pass,
            Input.BREATHS: self._fill_breaths,
            Input.IODINE_MAP: self._fill_iodine_map,
            Input.VOLTAGE_PAIR: self._fill_voltage_pair,
            Input.XENON: self._fill_xenon,
        }
        for kind in command.inputs:
            line = Proposal(self._case, command.name)
            if fill[kind](line):
                if command.needs_thin_slices:
                    _mind_thick_slices(line)
                yield line
                return

    def _fill_breaths(self, line: Proposal) -> bool:
        """Need both breaths, each said by the header."""
        expired = [s for s in self._plain if s.breath == "expiration"]
        if not expired:
            return False
        self._choose(line, "expiration", expired)
        inspired = [s for s in self._plain if s.breath == "inspiration"]
        self._choose(line, "inspiration", inspired)
        if not inspired:
            others = [s for s in self._plain if s.breath is None]
            line.notes.append(f"no series says inspiration{self._perhaps(others)}")
        return True

    def _fill_iodine_map(self, line: Proposal) -> bool:
        """Take the vendor's iodine map with its CT."""
        maps = [s for s in self._readable if s.kind == "iodine"]
        if not maps:
            return False
        chosen = self._choose(line, "iodine", maps)
        if chosen is None or chosen.unit is None:
            line.cells["iodine_unit"] = OPEN
            line.notes.append("the header does not give the unit of the map: mg/mL or HU")
        same = [s for s in self._plain if chosen is None or s.grid == chosen.grid]
        self._choose(line, "ct", same or [s for s in self._plain if s.breath != "expiration"])
        return True

    def _fill_voltage_pair(self, line: Proposal) -> bool:
        """Take two voltages of one scan."""
        if not self._pairs:
            return False
        low = self._choose(line, "low", [low for low, _ in self._pairs])
        partners = [high for first, high in self._pairs if first is low]
        self._choose(line, "high", partners)
        if len(partners) == 1 and low is not None:
            if low.acquisition != partners[0].acquisition:
                line.cells["high"] = OPEN
                line.notes.append(
                    f"{self._name(low)} and {self._name(partners[0])} have two voltages but "
                    "are not of one scan"
                )
            else:
                self._state_voltages(line, low, partners[0])
        return True

    def _state_voltages(self, line: Proposal, low: Series, high: Series) -> None:
        """Give the tube voltages with their filters; left open where no header names a filter."""
        bare = [f"{series.kvp:g}" for series in (low, high)]
        if high.tin_filter is None:
            line.cells["kv"] = OPEN
            line.notes.append(
                f"{bare[0]} and {bare[1]} kV, the header names no filter: write "
                f"'{bare[0]} {bare[1]}', or '{bare[0]} {bare[1]}Sn' for a tin filter"
            )
            return
        line.cells["kv"] = " ".join(
            voltage + ("Sn" if series.tin_filter else "")
            for voltage, series in zip(bare, (low, high), strict=True)
        )

    def _fill_first_pass(self, line: Proposal) -> bool:
        """Take a series of many time points, or the folder of those that are one each."""
        passes = [s for s in self._readable if s.kind == "dynamic"]
        whole = [s for s in passes if s.images >= s.time_points * MIN_SLICES]
        if whole:
            self._choose(line, "first_pass", whole)
            return True
        if not passes:
            return False
        line.cells["first_pass"] = OPEN
        names = ", ".join(self._name(s) for s in passes)
        line.notes.append(
            f"first_pass: {names} are the time points of one scan; give the folder that holds them "
            "and nothing else"
        )
        return True

    def _fill_xenon(self, line: Proposal) -> bool:
        """Take maps of a xenon MRI, or a folder of the pipeline, with CT of either breath."""
        maps = [s for s in self._readable if s.kind == "xenon"]
        if not maps and not self._folders:
            return False
        if not self._fill_chest_ct(line):
            line.cells["ct"] = OPEN
            line.notes.append("ct: which CT belongs to the xenon MRI is not said")
        expired = [s for s in self._plain if s.breath == "expiration"]
        if expired:
            self._choose(line, "other_ct", expired)
        if self._folders:
            self._fill_folder(line)
        else:
            self._fill_maps(line, maps)
        return True

    def _fill_folder(self, line: Proposal) -> None:
        line.cells["duke"] = self._folders[0] if len(self._folders) == 1 else OPEN
        if len(self._folders) > 1:
            line.notes.append(f"duke: {len(self._folders)} folders of the pipeline are beside it")

    def _fill_maps(self, line: Proposal, maps: Sequence[Series]) -> None:
        for name in (*MAPS, "mask"):
            known = [s for s in maps if s.xenon_map == name]
            if known:
                self._choose(line, name, known)
        if not line.cells.keys() & set(MAPS):
            line.cells["rbc_gas"] = OPEN
            names = ", ".join(self._name(s) for s in maps)
            line.notes.append(f"{names}: of xenon, but no description names a map")
        if "mask" not in line.cells:
            line.cells["mask"] = OPEN
            line.notes.append("mask: give the lungs on the MRI (label map or DICOM SEG)")

    def _fill_chest_ct(self, line: Proposal) -> bool:
        """Native inspiration, thin and soft, comes first."""
        candidates = [s for s in self._plain if s.breath != "expiration"]
        if not candidates:
            return False
        chosen = self._choose(line, "ct", candidates)
        if chosen is not None:
            if chosen.breath is None:
                line.notes.append("breathing state not stated, taken as inspiration")
            if chosen.contrast:
                line.notes.append("with contrast")
            if chosen.sharpness == "sharp":
                line.notes.append(f"sharp kernel {chosen.kernel}: densities are biased")
        return True

    def _choose(self, line: Proposal, column: str, series: Sequence[Series]) -> Series | None:
        """Take the best of several; leave it open where two are equally good, or none is there."""
        ranked = sorted(series, key=_rank)
        if not ranked:
            line.cells[column] = OPEN
            return None
        best = [s for s in ranked if _rank(s) == _rank(ranked[0])]
        if len(best) > 1:
            line.cells[column] = OPEN
            names = " or ".join(self._name(s) for s in best)
            line.notes.append(f"{column}: {names}?")
            return None
        line.cells[column] = best[0]
        if len(ranked) > 1:
            rest = ", ".join(self._name(s) for s in ranked[1:])
            line.notes.append(f"{column}: {self._name(best[0])} rather than {rest}")
        return best[0]

    def _name(self, series: Series) -> str:
        return f"series {self._numbers[series.uid]}"

    def _perhaps(self, series: Sequence[Series]) -> str:
        if not series:
            return ""
        return "; perhaps " + " or ".join(self._name(s) for s in series)


def _mind_thick_slices(line: Proposal) -> None:
    chosen = line.cells.get("ct")
    if isinstance(chosen, Series) and (chosen.thickness_mm or 0) > THIN_MM:
        line.notes.append(f"slices of {chosen.thickness_mm:g} mm: small vessels are not seen whole")


def _rank(series: Series) -> tuple[object, ...]:
    """Put first what suits density and vessels best: inspiration, native, soft, thin."""
    breaths: dict[Breath | None, int] = {"inspiration": 0, "expiration": 0, None: 1}
    kernels = {"soft": 0, None: 1, "sharp": 2}
    thickness = series.thickness_mm if series.thickness_mm is not None else 99.0
    return (
        breaths[series.breath],
        bool(series.contrast),
        kernels[series.sharpness],
        max(thickness, THIN_MM),
        thickness,
    )


def _pairs(series: Sequence[Series]) -> Iterator[tuple[Series, Series]]:
    """Two voltages on one grid, with the same kernel, in the same breath."""
    plain = [s for s in series if s.kind == "ct" and s.kvp is not None]
    for low in plain:
        for high in plain:
            alike = (
                low.grid == high.grid and low.kernel == high.kernel and low.breath == high.breath
            )
            if alike and (low.kvp or 0) + 20 <= (high.kvp or 0):
                yield low, high
