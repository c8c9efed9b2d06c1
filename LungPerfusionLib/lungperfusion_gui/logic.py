"""From the nodes and options of a panel to the words of its command; no widgets."""

import re
from functools import partial
from pathlib import Path
from typing import ClassVar

from slicer.parameterNodeWrapper import FloatRange
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleLogic

from lungperfusion import mrml
from lungperfusion.commands.output import check_case
from lungperfusion.engines import find_engine
from lungperfusion.errors import InputError
from lungperfusion.io import write_labelmap
from lungperfusion.io.writing import write_in_parts
from lungperfusion.segmentation.imports import PARTITIONS, import_regions, import_vessels
from lungperfusion.terms import LOBES
from lungperfusion_gui import fissures, scan_check
from lungperfusion_gui.corrections import TRAIL, entries
from lungperfusion_gui.parameters import OWN_ENGINE
from lungperfusion_gui.result_nodes import LUNGS
from lungperfusion_gui.study import Study

STEERING = "steering"
"""Name under which a study keeps what steered the registration of its results."""

REMOVED_LOBES = {
    "removed" + "".join(part.capitalize() for part in lobe.split("_")): lobe.value for lobe in LOBES
}
"""Parameter for each lobe that an operation may have taken, with the lobe."""


def option_name(parameter):
    """Option of the command line that a parameter stands for.

    Examples
    --------
    >>> option_name("defectBelowHu")
    '--defect-below-hu'

    """
    return "--" + re.sub("(?=[A-Z])", "-", parameter).lower()


def removed_lobe_words(parameters):
    """Return the words for the lobes that an operation has taken out."""
    removed = (lobe for name, lobe in REMOVED_LOBES.items() if getattr(parameters, name))
    return [word for lobe in removed for word in ("--removed-lobe", lobe)]


class AnalysisLogic(ScriptedLoadableModuleLogic):
    """What a module does without its panel.

    Subclasses say which command they run and how parameters become arguments.
    """

    command = ""
    corrections: ClassVar = {LUNGS: "--lung-mask", "lobes": "--lobes"}
    """Label maps that can be corrected, with the option that takes the corrected ones."""
    findings = ""
    """Class map that is shown first."""
    findings_tables = ()
    """Tables whose largest finding is shown after Apply: of the first one that there is."""
    deciding = ()
    """Pairs of measure and region that a reader looks at first."""
    maps: ClassVar = {}
    """Colours of each map by its name."""
    transforms = ()
    """Names of the displacement fields among the results."""
    requirements = ("matplotlib>=3.9",)
    """What a report needs beyond Slicer."""

    # ------------------------------------------------------------------ to be given by modules

    def command_of(self, parameters):
        """Command that the present choices ask for."""
        return self.command

    def missing(self, parameters):
        """Say what keeps the analysis from running; empty when nothing does."""
        raise NotImplementedError

    def image_options(self, parameters):
        """Node of an image and unit by option name; a name without dashes is positional."""
        raise NotImplementedError

    def options(self, parameters):
        """Return further arguments, as words."""
        raise NotImplementedError

    def reference(self, parameters):
        """Return the volume node whose grid the results have, or the sequence node of a series."""
        raise NotImplementedError

    def scans(self, parameters):
        """Volume nodes that have to be chest CT, with the segmentation of their lungs or None."""
        return [(self.reference(parameters), parameters.lungMask)]

    def colours(self, parameters, name):
        """Colours of a map; None for one that stays grey."""
        return self.maps.get(name)

    def study(self, parameters):
        """Return what belongs to the chosen scan."""
        scene = parameters.parameterNode.GetScene()
        return Study(scene, self.moduleName, self.reference(parameters))

    option_fields = ()
    """Parameters that are options under the same name."""
    optional_fields = ()
    """The same for numbers of which 0 stands for "not given"."""

    def irrelevant(self, parameters):
        """Names of inputs and options that play no part with the present choices."""
        return frozenset()

    def option_words(self, parameters, fields=()):
        """Words of the parameters in `option_fields` and `optional_fields` that play a part.

        Parameters
        ----------
        parameters
            Parameter node wrapper.
        fields
            Parameters that are options of another command, instead of those in `option_fields`.

        """
        left_out = self.irrelevant(parameters)
        words = []
        for name in fields or self.option_fields:
            if name not in left_out:
                words += _words(option_name(name), getattr(parameters, name))
        for name in self.optional_fields:
            value = getattr(parameters, name)
            words += _words(option_name(name), value) if value and name not in left_out else []
        return [*words, *removed_lobe_words(parameters)]

    def extra_words(self, parameters, folder):
        """Write further inputs into a folder and return their words."""
        return []

    def engines(self, parameters):
        """Engines of other programs that draw lungs or lobes, by task."""
        chosen = {"lungs": parameters.lungEngine, "lobes": parameters.lobeEngine}
        if parameters.lungMask is not None:
            del chosen["lungs"]
        return {task: name for task, name in chosen.items() if name != OWN_ENGINE}

    def missing_engine(self, parameters):
        """Say what keeps a chosen engine from running; empty when nothing does."""
        for task, name in self.engines(parameters).items():
            reason = find_engine(name).why_not(task)
            if reason:
                return f"{name}: {reason}."
        return ""

    def refused_scan(self, parameters):
        """Say which chosen scan the analysis would refuse, and why; empty when it takes all."""
        for node, lungs in self.scans(parameters):
            reason = scan_check.refusal(node, lungs_given=lungs is not None)
            if reason:
                return f"{node.GetName()}: {reason}"
        return ""

    @staticmethod
    def refused_name(parameters):
        """Say why the name of the case cannot be one; empty when it can."""
        try:
            check_case(parameters.caseName.strip() or None)
        except InputError as error:
            return str(error)
        return ""

    def lung_options(self, parameters):
        """Lungs found by other programs, by option, with the volume whose grid they get."""
        return {"--lung-mask": (parameters.lungMask, self.reference(parameters))}

    def segmentation_options(self, parameters):
        """Segmentation node by option name, beside lungs and vessels."""
        return {}

    def input_segmentations(self, parameters):
        """Segmentations of other programs or the reader that the results were made with."""
        nodes = [node for node, _volume in self.lung_options(parameters).values()]
        nodes += [parameters.vesselMask, *self.segmentation_options(parameters).values()]
        return [node for node in nodes if node is not None]

    def further_nodes(self, parameters):
        """Nodes that `extra_words` reads."""
        return ()

    def inputs(self, parameters):
        """Return the input nodes by option: results belong to exactly these."""
        nodes = {option: node for option, (node, _unit) in self.image_options(parameters).items()}
        nodes |= {option: node for option, (node, _grid) in self.lung_options(parameters).items()}
        nodes |= self.segmentation_options(parameters)
        nodes["--vessel-mask"] = parameters.vesselMask
        nodes |= {f"further-{n}": node for n, node in enumerate(self.further_nodes(parameters))}
        return {option: node for option, node in nodes.items() if node is not None}

    def settings(self, parameters):
        """Return all options that are no nodes as text, and what steers a registration."""
        words = [*self.options(parameters), *self.engines(parameters).values()]
        return " ".join([*words, self.steering(parameters)]).rstrip()

    def steering(self, parameters):
        """Say by what a registration is steered: one that was steered otherwise is not reused."""
        return ""

    # ------------------------------------------------------------------------------- command

    def request(self, parameters, folder, *, corrected=True):
        """Write the inputs of a run into a folder, in steps, and return the words of its command.

        What is chosen counts as it is when the first step is taken.

        Parameters
        ----------
        parameters
            Parameter node wrapper.
        folder
            Empty folder for the inputs.
        corrected
            Whether the user's corrections count.

        Yields
        ------
        float
            Share that is written.

        """
        folder, study = Path(folder), self.study(parameters)
        positional, words, images = [], [], []
        for option, (node, unit) in self.image_options(parameters).items():
            name = option.strip("-").replace("-", "_")
            path, steps = self.writing(parameters, node, unit, folder / f"{name}.nrrd")
            images.append(steps)
            if option.startswith("-"):
                words += [option, str(path)]
            else:
                positional.append(str(path))
        words += self.options(parameters)
        segmentations = self._segmentations(parameters, folder, corrected)
        engines = self.engines(parameters)
        further = []
        if parameters.lobes == "auto":  # without lobes there is nothing that points could move
            further += fissures.request_words(study, folder)
        further += self.extra_words(parameters, folder)
        if corrected and study.corrected:
            further += self._transform_words(parameters, study, folder)
        command, count = self.command_of(parameters), len(images) + len(segmentations)
        for number, steps in enumerate(images):
            for share in steps:
                yield (number + share) / count
        files = []
        for number, write in enumerate(segmentations, start=len(images) + 1):
            files += write()
            yield number / count
        words += files  # they win
        for task, name in engines.items():
            if {"lungs": "--lung-mask", "lobes": "--lobes"}[task] not in files:
                words += ["--engine", f"{task}={name}"]
        return [command, *positional, *words, *further]

    def writing(self, parameters, node, unit, path):
        """Return the path of an input image, its suffix may change, and the steps of writing it."""
        return path, self._image_steps(node, unit, path)

    @staticmethod
    def _image_steps(node, unit, path):
        volume = mrml.volume_from_node(node, unit)
        if volume.valid is not None:
            volume = mrml.with_padding(volume)
        yield from write_in_parts(volume, path)

    @staticmethod
    def trail_words(study, folder):
        """Write the audit trail into a folder and return the words that put it into the report."""
        if not entries(study):
            return []
        path = Path(folder) / "corrections.json"
        path.write_text(study.node(TRAIL).GetText(), encoding="utf-8")
        return ["--corrections", str(path)]

    @staticmethod
    def case_words(parameters):
        """Words for the name of the case; none where none is given."""
        name = parameters.caseName.strip()
        return ["--case", name] if name else []

    def display_words(self, parameters):
        """Words for results that only the panel shows."""
        return []

    def _transform_words(self, parameters, study, folder):
        """Reuse the registration, which a correction does not change."""
        if study.value(STEERING) != self.steering(parameters):
            return []
        paths = []
        for name in self.transforms:
            field = study.node(f"transform.{name}")
            if field is not None:
                paths.append(folder / f"{name}.nrrd")
                mrml.write_transform(field, paths[-1])
        return ["--transform", *map(str, paths)] if paths else []

    def _segmentations(self, parameters, folder, corrected):
        """Return functions that write a segmentation each and return its words."""
        geometry = mrml.grid_of(self.reference(parameters))
        study, found = self.study(parameters), []
        chosen = study.corrected if corrected else []
        if "lobes" in chosen and LUNGS not in chosen:
            chosen.append(LUNGS)  # lobes alone would bring lungs of their own
        for name in chosen:
            # what was drawn, not what was measured of it: the same input gives the same numbers
            node = study.node("drawn." + name) or study.node("labels." + name)
            if node is None:
                raise InputError(f"the corrected {name} are no longer in the scene; press Apply")
            known = PARTITIONS[name] if name in (LUNGS, "lobes") else None
            path, option = folder / f"{name}.seg.nrrd", self.corrections[name]
            found.append(partial(_write_segments, option, node, geometry, path, known))
        for option, (node, volume) in self.lung_options(parameters).items():
            first = option == self.corrections[LUNGS]
            if node is not None and not (first and LUNGS in chosen):
                grid = mrml.grid_of(volume)
                lobes = self.corrections["lobes"] if first else None
                found.append(partial(self._write_imported, option, lobes, node, grid, folder))
        if parameters.vesselMask is not None and "vessels" not in chosen:
            found.append(partial(_write_vessels, parameters.vesselMask, geometry, folder))
        given = {self.corrections[name] for name in chosen}
        for option, node in self.segmentation_options(parameters).items():
            if option not in given:
                path = folder / _segments_name(option)
                found.append(partial(_write_segments, option, node, geometry, path))
        return found

    def _write_imported(self, option, lobes, node, geometry, folder):
        """Write lungs, and with an option for lobes those, too, where there are any."""
        imported = self.imported(node, geometry)
        path = folder / _segments_name(option)
        words = _write_labels(option, imported.lungs or imported.lobes, path)
        if imported.lobes is not None and lobes is not None:
            words += _write_labels(lobes, imported.lobes, folder / _segments_name(lobes))
        return words

    @staticmethod
    def imported(node, geometry):
        """Lungs and lobes of any program's segmentation, told by terminology, ID or name."""
        imported = import_regions(mrml.labelimage_from_segmentation(node, geometry))
        if imported.lungs is None and imported.lobes is None:
            raise InputError(
                f"the segmentation {node.GetName()} holds no lung and no lobe that could be "
                "recognised by terminology, ID or name; choose another one or none"
            )
        return imported


def _words(option, value):
    """Option and value as words; a switch that is off needs none."""
    if isinstance(value, bool):
        return [option] if value else []
    if isinstance(value, FloatRange):
        return [option, f"{value.minimum:.12g}", f"{value.maximum:.12g}"]
    return [option, f"{value:.12g}" if isinstance(value, float) else str(value)]


def _segments_name(option):
    return f"{option.strip('-').replace('-', '_')}.seg.nrrd"


def _write_labels(option, labels, path):
    write_labelmap(labels, path, compressed=False)
    return [option, str(path)]


def _write_segments(option, node, geometry, path, known=None):
    return _write_labels(option, mrml.labelmap_from_segmentation(node, geometry, known), path)


def _write_vessels(node, geometry, folder):
    image = mrml.labelimage_from_segmentation(node, geometry)
    vessels, _notes = import_vessels(image, geometry)
    option = "--vessel-mask"
    return _write_labels(option, vessels, folder / _segments_name(option))
