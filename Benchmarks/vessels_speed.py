"""Speed, memory and detection of the vessel scale space, beside other implementations."""

from __future__ import annotations

import resource
import sys
import time

import numpy as np
import SimpleITK as sitk

from Benchmarks import Figure
from Benchmarks.vessels_accuracy import ROOM, scan, trees
from lungperfusion.vessels.detection import find_vessels
from lungperfusion.vessels.enhancement import SCALES_MM, enhance_vessels
from lungperfusion.volume import Geometry, Labelmap, Mask, Volume


def average_precision(truth: Mask, score: np.ndarray) -> float:
    """Area under the precision-recall curve, steps between distinct scores."""
    order = np.argsort(-score, kind="stable")
    hits = truth[order].cumsum()
    last = np.append(np.flatnonzero(np.diff(score[order])), score.size - 1)
    precision = hits[last] / (last + 1)
    recall = hits[last] / hits[-1]
    return float(np.sum(np.diff(recall, prepend=0.0) * precision))


def itk_objectness(image: np.ndarray, spacing: float) -> np.ndarray:
    """Greatest Frangi-like objectness of bright lines over the scales, as ITK computes it."""
    picture = sitk.GetImageFromArray(image)
    picture.SetSpacing((spacing,) * 3)
    best = np.zeros(image.shape, np.float32)
    for sigma in SCALES_MM:
        smooth = sitk.SmoothingRecursiveGaussian(picture, sigma)
        answer = sitk.ObjectnessMeasure(
            smooth, alpha=0.53, beta=0.61, gamma=100.0, objectDimension=1, brightObject=True
        )
        np.maximum(best, sitk.GetArrayViewFromImage(answer), out=best)
    return best


def skimage_frangi(image: np.ndarray, spacing: float) -> np.ndarray:
    from skimage.filters import frangi

    return np.asarray(
        frangi(
            image,
            sigmas=[sigma / spacing for sigma in SCALES_MM],
            alpha=0.53,
            beta=0.61,
            gamma=100.0,
            black_ridges=False,
        )
    )


def comparison() -> list[Figure]:
    """Compare processor time and area under precision-recall on one crop at the same scales."""
    image = scan(trees(1))
    crop = (slice(14, 114),) * 3
    array = image.ct.array[crop].astype(np.float32)
    truth = image.coverage.array[crop] >= 0.5
    inner = np.zeros(array.shape, np.bool_)
    inner[3:-3, 3:-3, 3:-3] = True
    depth = np.stack(
        [image.ct.geometry.crop(crop).coordinate_mm(axis) for axis in ("R", "A", "S")], axis=-1
    )
    inner &= ROOM.depth_mm(depth) > 3.0
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(2)
    seconds: dict[str, float] = {}
    scores: dict[str, np.ndarray] = {}
    spacing = (0.7, 0.7, 0.7)
    for name, work in (
        ("this project", lambda: enhance_vessels(array, inner, spacing).strength_hu),
        ("ITK objectness", lambda: itk_objectness(array, 0.7)),
        ("scikit-image frangi", lambda: skimage_frangi(array, 0.7)),
    ):
        times = []
        for _ in range(1 if "frangi" in name else 3):
            start = time.process_time()
            scores[name] = work()
            times.append(time.process_time() - start)
        seconds[name] = min(times)
    figures = [
        Figure(
            name=f"{name}: processor seconds per million voxels",
            value=s / array.size * 1e6,
            unit="s",
        )
        for name, s in seconds.items()
    ]
    own = average_precision(truth[inner], scores["this project"][inner])
    figures.append(Figure(name="this project: area under precision-recall", value=own))
    for name in ("ITK objectness", "scikit-image frangi"):
        other = average_precision(truth[inner], scores[name][inner])
        figures += [
            Figure(name=f"{name}: area under precision-recall", value=other, at_most=own),
            Figure(
                name=f"{name}: time over this project's",
                value=seconds[name] / seconds["this project"],
                at_least=5.0,
            ),
        ]
    return figures


def whole_chest() -> list[Figure]:
    """Measure a 512 x 512 x 450 image at 0.7 mm: 27 round lungs of trees, 7.8 L, in soft tissue."""
    tile = scan(trees(1))
    ct = np.full((450, 512, 512), 30, np.int16)
    labels = np.zeros(ct.shape, np.uint8)
    size = 3 * tile.ct.array.shape[0]
    inner = (slice(30, 30 + size), slice(60, 60 + size), slice(60, 60 + size))
    ct[inner] = np.tile(tile.ct.array, (3, 3, 3))
    labels[inner] = np.tile(tile.lungs.array, (3, 3, 3))
    geometry = Geometry.axial(ct.shape, (0.7, 0.7, 0.7))
    start, used = time.perf_counter(), time.process_time()
    find_vessels(
        Volume(ct, geometry, "HU"), Labelmap(labels, geometry, tile.lungs.names), blood_hu=40.0
    )
    seconds, busy = time.perf_counter() - start, time.process_time() - used
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return [
        Figure(name="512 x 512 x 450: vessels", value=seconds, unit="s", at_most=90.0),
        Figure(name="512 x 512 x 450: processor time", value=busy, unit="s"),
        Figure(
            name="512 x 512 x 450: peak memory",
            value=peak / (1024**3 if sys.platform == "darwin" else 1024**2),
            unit="GiB",
            at_most=6.0,
        ),
    ]


def main() -> list[Figure]:
    return [*comparison(), *whole_chest()]
