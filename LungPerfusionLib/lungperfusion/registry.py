"""The commands of this program: everything that help, manifest, batch, demo and report ask of one.

A new command is one entry here and one module with ``add_arguments`` and ``run`` in
``lungperfusion.commands``.  The entries are plain words, so that asking loads no command.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType


class Input(StrEnum):
    """Kind of images that an analysis starts from; `batch.proposal` finds them among series."""

    CHEST_CT = "chest CT"
    """Argument ``ct``: inspiration, best without contrast, thin and soft."""
    BREATHS = "expiratory and inspiratory CT"
    """Arguments ``expiration`` and ``inspiration``."""
    IODINE_MAP = "vendor's iodine map with its CT"
    """Arguments ``iodine``, ``ct`` and, where no header states it, ``iodine_unit``."""
    FIRST_PASS = "first-pass series"
    """Argument ``first_pass``: one place at many times while a bolus passes."""
    VOLTAGE_PAIR = "images of two tube voltages"
    """Arguments ``low``, ``high`` and ``kv``."""
    XENON = "xenon MRI with a CT"
    """Arguments ``ct``, ``other_ct`` and ``duke``, or the maps with their ``mask``."""


NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Command:
    """One command of the program; with a report of its own it is an analysis of one case."""

    name: str
    summary: str
    """Line of ``--help``."""
    title: str = ""
    """Heading of its part of a report; empty for what does not analyse a case."""
    module: str = ""
    """Where ``add_arguments`` and ``run`` are; empty for ``lungperfusion.commands.<name>``."""
    inputs: tuple[Input, ...] = ()
    """Kinds of images that ``manifest`` proposes it for; the first that a study has is taken."""
    needs_thin_slices: bool = False
    """Whether ``manifest`` warns of thick slices."""
    demo: Mapping[str, str] = field(default=NOTHING)
    """Arguments in the demo: a scan or fact of the phantom patient, or the value itself."""
    lobar_columns: Mapping[str, str] = field(default=NOTHING)
    """Measures with short headings that it gives to the table of all analyses by lobe."""

    @property
    def is_analysis(self) -> bool:
        """Whether it analyses one case, and a batch can run it."""
        return bool(self.title)

    @property
    def place(self) -> str:
        """Name of the module to import."""
        return self.module or f"lungperfusion.commands.{self.name}"


COMMANDS: dict[str, Command] = {
    command.name: command
    for command in (
        Command("check", "what a scan is and which analyses it suits, in seconds"),
        Command(
            "lungs",
            "lungs, airways and density scores of a chest CT",
            title="Lung volume and density",
            inputs=(Input.CHEST_CT,),
            demo={"ct": "inspiration", "lobes": "auto"},
            lobar_columns={
                "tlv": "Volume",
                "mld": "Density",
                "laa_950": "LAA-950",
                "ggo": "Opacity",
            },
        ),
        Command(
            "lobes",
            "lobes and fissures: found, given or corrected; fissure completeness",
            title="Lobes",
            demo={"ct": "inspiration"},
            lobar_columns={"fissure_completeness": "Fissure"},
        ),
        Command(
            "ipv",
            "iodine perfusion, the score IPv, defects and CT signs",
            title="Iodine perfusion",
            inputs=(Input.IODINE_MAP, Input.VOLTAGE_PAIR),
            demo={"low": "low", "high": "high", "kv": "kv", "lobes": "auto"},
            lobar_columns={"iodine_mean": "Iodine"},
        ),
        Command(
            "dynamic",
            "pulmonary and bronchial flow, blood volume and transit time from a first-pass series",
            title="Dynamic perfusion",
            inputs=(Input.FIRST_PASS,),
            demo={"first_pass": "first_pass", "lobes": "auto"},
            lobar_columns={"dynamic_blood_volume": "Blood volume", "pulmonary_flow": "Flow"},
        ),
        Command(
            "ctvq",
            "ventilation, perfusion and V/Q from an expiratory and an inspiratory CT",
            title="Ventilation and perfusion",
            inputs=(Input.BREATHS,),
            demo={"expiration": "expiration", "inspiration": "inspiration", "lobes": "auto"},
            lobar_columns={"ventilation_share": "V", "perfusion_share": "Q"},
        ),
        Command(
            "vesselbv",
            "blood volume of the vessels of the lungs by cross-section",
            title="Blood volume by vessel size",
            inputs=(Input.CHEST_CT,),
            needs_thin_slices=True,
            demo={"ct": "inspiration", "lobes": "auto"},
            lobar_columns={"bv5": "BV5", "bv5_share": "BV5 share"},
        ),
        Command(
            "xenon",
            "gas transfer from hyperpolarised 129Xe MRI, joined with the lobes of a CT",
            title="Gas transfer",
            inputs=(Input.XENON,),
            demo={
                **{"ct": "inspiration", "lobes": "auto", "rbc_gas": "xenon_rbc_gas"},
                **{"membrane_gas": "xenon_membrane_gas", "ventilation": "xenon_ventilation"},
                "mask": "xenon_mask",
            },
            lobar_columns={
                "xe_ventilation_share": "Xe V",
                "xe_rbc_gas": "RBC:gas",
                "xe_membrane_gas": "Membrane",
                "xe_rbc_m": "RBC:M",
                "xe_rbc_impaired_share": "RBC low",
                "xe_transfer_low_ct_normal_share": "low, CT normal",
            },
        ),
        Command("dicom", "results of an analysis as DICOM objects beside the study they are of"),
        Command("manifest", "propose a manifest from a folder with DICOM files"),
        Command("batch", "all cases of a manifest, on one machine or a cluster"),
        Command(
            "cohort",
            "measurements and a clinical table to the tables, tests and figures of a paper",
        ),
        Command("context", "a D-dimer among published rules and patterns of embolism; no advice"),
        Command("demo", "one phantom patient, every analysis, one report"),
        Command(
            "train",
            "train a model of collateral ventilation or perfusion defects on labelled cases",
        ),
        Command(
            "agree",
            "agreement of V/Q maps with reference images and readers over many cases",
        ),
        Command("phantom", "write a digital chest phantom with its truth"),
    )
}
"""Every command by name, in the order of ``--help`` and of the parts of a joined report."""


def analyses(commands: Mapping[str, Command] = COMMANDS) -> tuple[str, ...]:
    """Names of the commands that analyse one case."""
    return tuple(name for name, command in commands.items() if command.is_analysis)


def lobar_columns(commands: Mapping[str, Command] = COMMANDS) -> dict[str, str]:
    """Measures of the table of all analyses by lobe, with their short headings."""
    return {
        measure: heading
        for command in commands.values()
        for measure, heading in command.lobar_columns.items()
    }
