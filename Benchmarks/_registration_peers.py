"""Register the real pair with another tool: ``python _registration_peers.py TOOL FOLDER OUT``.

The settings are those that did best in our hands: everything outside the lung set to a constant.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np


def _arrays(folder: Path):
    import SimpleITK as sitk
    from scipy import ndimage

    out = []
    for name in ("baseline", "followup"):
        image = sitk.ReadImage(str(folder / f"{name}.nii.gz"), sitk.sitkFloat32)
        mask = sitk.GetArrayFromImage(sitk.ReadImage(str(folder / f"{name}_mask.mha"))) > 0
        hu = np.clip(sitk.GetArrayFromImage(image), -1000, 200)
        filled = sitk.GetImageFromArray(np.where(mask, hu, 0).astype(np.float32))
        filled.CopyInformation(image)
        wide = ndimage.binary_dilation(mask, iterations=3).astype(np.uint8)
        out.append((filled, wide, mask.astype(np.uint8)))
    return out


def elastix(folder: Path, grid_mm: str) -> tuple[np.ndarray, float]:
    import itk

    def image(array, like):
        made = itk.image_from_array(array)
        made.SetSpacing(like.GetSpacing())
        made.SetOrigin(like.GetOrigin())
        return made

    import SimpleITK as sitk

    (fixed, wide, _), (moving, _, _) = _arrays(folder)
    target, source = (image(sitk.GetArrayFromImage(i), i) for i in (fixed, moving))
    settings = itk.ParameterObject.New()
    for kind, iterations in (("affine", 300), ("bspline", 500)):
        values = settings.GetDefaultParameterMap(kind, 4)
        values["MaximumNumberOfIterations"] = [str(iterations)]
        values["Metric"] = ["AdvancedNormalizedCorrelation"]
        values["Registration"] = ["MultiResolutionRegistration"]
        values["NumberOfSpatialSamples"] = ["4000"]
        values["NewSamplesEveryIteration"] = ["true"]
        values["ImageSampler"] = ["RandomCoordinate"]
        values["Interpolator"] = ["LinearInterpolator"]
        values["RequiredRatioOfValidSamples"] = ["0.02"]
        values["AutomaticTransformInitialization"] = ["true"]
        values["AutomaticTransformInitializationMethod"] = ["GeometricalCenter"]
        values["WriteResultImage"] = ["false"]
        if kind == "bspline":
            values["FinalGridSpacingInPhysicalUnits"] = [grid_mm]
            values["GridSpacingSchedule"] = ["8", "4", "2", "1"]
        settings.AddParameterMap(values)
    start = time.process_time()
    _, transform = itk.elastix_registration_method(
        target,
        source,
        parameter_object=settings,
        fixed_mask=image(wide, fixed),
        number_of_threads=2,
        log_to_console=False,
    )
    field = itk.transformix_deformation_field(source, transform)
    return itk.array_from_image(field), time.process_time() - start


def ants_syn(folder: Path) -> tuple[np.ndarray, float]:
    import ants
    import SimpleITK as sitk

    images = []
    for filled, _, _ in _arrays(folder):
        array = sitk.GetArrayFromImage(filled).transpose(2, 1, 0)
        images.append(
            ants.from_numpy(array, origin=filled.GetOrigin(), spacing=filled.GetSpacing())
        )
    start = time.process_time()
    result = ants.registration(images[0], images[1], type_of_transform="SyN")
    seconds = time.process_time() - start
    k, j, i = (int(n) for n in images[0].shape[::-1])
    index = np.stack(np.meshgrid(np.arange(i), np.arange(j), np.arange(k), indexing="ij"), -1)
    points = index.reshape(-1, 3) * images[0].spacing + np.array(images[0].origin)
    import pandas

    table = pandas.DataFrame(points, columns=["x", "y", "z"])
    moved = ants.apply_transforms_to_points(3, table, result["fwdtransforms"])
    field = (moved[["x", "y", "z"]].to_numpy() - points).reshape(i, j, k, 3)
    return field.transpose(2, 1, 0, 3), seconds


def main() -> None:
    tool, folder, target = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    if tool.startswith("elastix-"):
        field, seconds = elastix(folder, tool.split("-")[1])
    else:
        field, seconds = ants_syn(folder)
    np.savez(target, lps=field.astype(np.float32), seconds=seconds)


if __name__ == "__main__":
    main()
