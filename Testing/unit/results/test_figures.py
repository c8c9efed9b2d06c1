"""Pictures: right side, right colour, right scale, whatever the voxel order."""

from __future__ import annotations

import builtins
import io
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import imread

from lungperfusion.errors import InputError
from lungperfusion.results.colours import (
    BLOOD_VOLUME,
    COLOURS,
    IODINE_PERFUSION,
    VENTILATION,
    VQ_RATIO,
    ColourClasses,
    ColourScale,
    density_classes,
    hexadecimal,
    label_colour,
)
from lungperfusion.results.figures import (
    Labels,
    Overlay,
    Window,
    _draw_legend,
    bars,
    figure_html,
    histogram,
    label_projection,
    montage,
    projection,
    three_planes,
)
from lungperfusion.results.planes import PlaneGrid, aligned, sample
from lungperfusion.terms import LOBES, LUNGS, STRUCTURES, Region
from lungperfusion.volume import Geometry, Labelmap, Volume

WIDE = Window("wide", 0.0, 2000.0)


def pixels(png: bytes) -> np.ndarray:
    return imread(io.BytesIO(png))[..., :3]


def chest(shape=(30, 40, 50), spacing=(3.0, 3.0, 4.0)) -> tuple[Volume, Labelmap]:
    """Bright body, dark lungs: the right one is larger, the left one has a bright nodule."""
    geometry = Geometry.axial(shape, spacing)
    hu = np.full(shape, 0, np.int16)
    labels = np.zeros(shape, np.uint8)
    labels[4:26, 8:32, 4:24] = 2  # I grows to the left: low I is the patient's right
    labels[6:20, 10:30, 28:46] = 1
    hu[labels > 0] = -850
    hu[8:12, 12:16, 30:34] = 900
    return Volume(hu, geometry, "HU"), Labelmap(labels, geometry, {1: "left_lung", 2: "right_lung"})


def reoriented(volume: Volume, labels: Labelmap) -> tuple[Volume, Labelmap]:
    """The same patient with other axis order and directions."""
    order = (2, 0, 1)  # new (K, J, I) = old (I, K, J)
    turned = volume.array.transpose(order)[::-1, :, ::-1]
    old = volume.geometry
    i, j, _ = old.shape[::-1]
    matrix = np.eye(4)
    matrix[:3, 0] = -old.ijk_to_ras[:3, 1]  # new I runs against old J
    matrix[:3, 1] = old.ijk_to_ras[:3, 2]  # new J is old K
    matrix[:3, 2] = -old.ijk_to_ras[:3, 0]  # new K runs against old I
    matrix[:3, 3] = old.ras_from_ijk((i - 1, j - 1, 0))
    geometry = Geometry(turned.shape, matrix)
    turned_labels = labels.array.transpose(order)[::-1, :, ::-1]
    return Volume(turned, geometry, "HU"), Labelmap(turned_labels, geometry, labels.names)


def plane_values(volume: Volume, plane: str, at: float) -> np.ndarray:
    low, high = np.array([-150.0, -120.0, 0.0]), np.array([0.0, 0.0, 110.0])
    grid = PlaneGrid(plane, at, low, high, 2.0)
    return sample(volume.array, volume.geometry, grid.points_ras_mm())[0]


@pytest.mark.parametrize(("plane", "at"), [("axial", 30.0), ("coronal", -40.0), ("sagittal", -90)])
def test_planes_do_not_depend_on_voxel_order(plane, at):
    volume, labels = chest()
    turned, _ = reoriented(volume, labels)
    expected = plane_values(volume, plane, at)
    assert np.ptp(expected) > 500
    np.testing.assert_allclose(plane_values(turned, plane, at), expected, atol=1e-3)


def test_patient_right_is_on_the_reader_s_left_and_front_on_top():
    volume, _ = chest()
    axial = plane_values(volume, "axial", 10 * 4.0)
    nodule = np.argwhere(axial > 800)
    rows, columns = nodule.mean(axis=0)
    assert columns > 75 / 2  # the image is 150 mm wide; left lung: on the reader's right
    assert rows < axial.shape[0] / 2  # J 12 to 16 of 40: in front
    coronal = plane_values(volume, "coronal", -14 * 3.0)
    assert np.argwhere(coronal > 800)[:, 0].mean() > coronal.shape[0] / 2  # K 8 to 12: low


@pytest.mark.parametrize("turn", [False, True])
def test_sides_of_finished_pictures(turn):
    volume, labels = chest()
    if turn:
        volume, labels = reoriented(volume, labels)
    lung = labels.mask("left_lung", "right_lung")

    def centre(png: bytes, colour: tuple[float, float, float]) -> np.ndarray:
        """Row and column of a colour as shares of the picture."""
        picture = pixels(png)
        near = np.abs(picture - np.array(colour)).max(axis=-1) < 0.03
        return np.argwhere(near).mean(axis=0) / near.shape

    white = (1.0, 1.0, 1.0)
    row, column = centre(projection(volume, mask=lung, value_range=(-1000, 900)), white)
    assert column > 0.6  # nodule in the left lung: on the reader's right
    assert row > 0.55  # and low
    sagittal = projection(volume, plane="sagittal", mask=lung, value_range=(-1000, 900))
    assert centre(sagittal, white)[1] < 0.4  # and in front: on the left of a sagittal view
    axial = projection(volume, plane="axial", mask=lung, value_range=(-1000, 900))
    assert centre(axial, white)[0] < 0.4  # and on top of an axial view
    shape = label_projection(Labels(labelmap=labels), shaded=False)
    assert centre(shape, label_colour("left_lung"))[1] > 0.6
    slices = montage(volume, count=1, columns=1, labels=Labels(labelmap=labels, fill=1))
    assert centre(slices, label_colour("left_lung"))[1] > 0.6


def test_pixels_are_square_in_mm():
    volume, _ = chest()
    for size_mm, plane in (((150, 120), "axial"), ((150, 120), "coronal")):
        shape = pixels(montage(volume, count=1, columns=1, plane=plane, width_in=3)).shape
        assert shape[1] / shape[0] == pytest.approx(size_mm[0] / size_mm[1], rel=0.03)


def test_aligned_equals_the_axial_array():
    volume, labels = chest()
    turned, _ = reoriented(volume, labels)
    array, geometry = aligned(turned.array, turned.geometry)
    np.testing.assert_array_equal(array, volume.array[:, ::-1, ::-1])  # all axes grow
    np.testing.assert_allclose(geometry.spacing_ijk_mm, volume.geometry.spacing_ijk_mm)
    corners = np.sort(geometry.corners_ras_mm(), axis=0)
    np.testing.assert_allclose(corners, np.sort(volume.geometry.corners_ras_mm(), axis=0))


def test_oblique_grids_are_resampled_to_patient_axes():
    volume, _ = chest()
    angle = np.radians(12)
    turn = np.eye(4)
    turn[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    tilted = Geometry(volume.geometry.shape, turn @ volume.geometry.ijk_to_ras)
    array, geometry = aligned(volume.array, tilted)
    at = np.unravel_index(np.argmax(array == 900), array.shape)
    position = geometry.ras_from_ijk(at[::-1])
    back = tilted.ijk_from_ras(position)
    assert ((back > (29, 11, 7)) & (back < (34.5, 16.5, 12.5))).all()


def test_same_input_same_bytes():
    volume, labels = chest()
    shown = Labels(labelmap=labels)
    assert three_planes(volume, labels=shown) == three_planes(volume, labels=shown)
    values = {Region.LEFT_LUNG: (np.array([-900.0, -800.0]), np.array([3, 4]))}
    assert histogram(values) == histogram(values)


def test_user_settings_of_matplotlib_do_not_matter():
    import matplotlib as mpl

    series = {"volume": {"left_lung": 2.0, "right_lung": 3.0}}
    expected = bars(series, label="L")
    with mpl.rc_context({"font.size": 30, "svg.fonttype": "none", "axes.grid": True}):
        assert bars(series, label="L") == expected


def test_overlay_colours_only_valid_voxels_above_the_threshold():
    volume, labels = chest()
    lung = labels.mask("left_lung", "right_lung")
    iodine = np.where(labels.array == 2, 100.0, 10.0).astype(np.float32)
    red, dark = np.array([0xD7, 0x19, 0x1C]) / 255, 0.05
    overlay = Overlay(
        volume=Volume(iodine, volume.geometry, "HU", lung),
        colours=IODINE_PERFUSION,
        title="Iodine",
        opacity=1.0,
    )

    def share_of_red(shown: Overlay) -> float:
        picture = pixels(montage(volume, count=1, columns=1, overlay=shown, window=WIDE))
        body = picture[:, : int(picture.shape[1] * 0.8)]
        return float((np.abs(body - red).max(axis=-1) < dark).mean())

    assert share_of_red(overlay) == pytest.approx(20 * 24 / (50 * 40), abs=0.04)
    hidden = Overlay(
        volume=overlay.volume, colours=IODINE_PERFUSION, title="Iodine", threshold=101.0, opacity=1
    )
    assert share_of_red(hidden) == 0


@pytest.mark.parametrize(
    ("colours", "unit", "title"),
    [(density_classes(), "HU", "Density (HU)"), (BLOOD_VOLUME, "mL/100mL", "Volume (mL/100\nmL)")],
)
def test_the_title_of_a_legend_stands_inside_the_picture(colours, unit, title):
    volume, _ = chest()
    overlay = Overlay(
        volume=Volume(volume.array, volume.geometry, unit),
        colours=colours,
        title=title.split()[0],
    )
    height_in = 1.44  # of one row of axial slices
    figure = Figure(figsize=(7.4, height_in))

    _draw_legend(figure, overlay, 7.4, height_in, 0.0)

    (heading,) = figure.texts
    assert heading.get_text() == title
    top = heading.get_window_extent(FigureCanvasAgg(figure).get_renderer()).y1
    assert top <= figure.bbox.height


def test_invalid_neighbours_do_not_bleed_into_the_map():
    geometry = Geometry.axial((1, 20, 20), (4.0, 4.0, 4.0))
    valid = np.zeros((1, 20, 20), bool)
    valid[:, 5:15, 5:15] = True
    from lungperfusion.results.figures import _sample_map

    overlay = Overlay(
        volume=Volume(np.where(valid, 50.0, -3000.0), geometry, "HU", valid),
        colours=IODINE_PERFUSION,
        title="Iodine",
    )
    low, high = np.array([-80.0, -80.0, -2.0]), np.array([2.0, 2.0, 2.0])
    values, shown = _sample_map(overlay, PlaneGrid("axial", 0, low, high, 0.5).points_ras_mm())
    np.testing.assert_allclose(values[shown], 50, atol=1e-3)
    assert shown.mean() == pytest.approx((40 / 82) ** 2, rel=0.05)


def test_fills_and_outlines_have_structure_colours():
    volume, labels = chest()
    picture = pixels(montage(volume, count=1, columns=1, labels=Labels(labelmap=labels, fill=1)))
    for name, share in (("left_lung", 18 * 20), ("right_lung", 20 * 24)):
        near = np.abs(picture - np.array(label_colour(name))).max(axis=-1) < 0.03
        assert near.mean() > 0.5 * share / (50 * 40)
    outlines = pixels(montage(volume, count=1, columns=1, labels=Labels(labelmap=labels)))
    near = np.abs(outlines - np.array(label_colour("left_lung"))).max(axis=-1) < 0.15
    assert 0.0005 < near.mean() < 0.05


def test_many_names_wrap_to_rows_inside_the_picture():
    from lungperfusion.results.figures import _name_rows

    volume, labels = chest()
    names = {n: str(region) for n, region in enumerate(Region, start=1)}
    rows = _name_rows(Labels(labelmap=Labelmap(labels.array, volume.geometry, names)), 5.0)
    assert sum(len(row) for row in rows) == len(names)
    assert len(rows) > 2
    for row in rows:
        left, _, words = row[-1]
        assert left + 0.14 + 0.068 * len(words) <= 5.0


def test_names_choose_the_labels():
    _, labels = chest()
    assert Labels(labelmap=labels, names=("left_lung",)).shown() == {1: "left_lung"}


@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal"])
def test_projection_finds_the_brightest_voxel_inside_the_mask(plane):
    volume, labels = chest()
    lung = labels.mask("left_lung", "right_lung")
    shown = pixels(projection(volume, plane=plane, mask=lung, value_range=(-1000, 900)))
    assert shown.max() > 0.95
    without = lung & (volume.array < 0)
    assert (
        pixels(projection(volume, plane=plane, mask=without, value_range=(-1000, 900), width_in=3))[
            60:-60, 60:-60
        ].max()
        < 0.2
    )


def test_label_projection_shows_the_nearest_label_from_the_front():
    geometry = Geometry.axial((20, 20, 20), (5.0, 5.0, 5.0))
    array = np.zeros((20, 20, 20), np.uint8)
    array[5:15, 2:8, 5:15] = 1  # low J: in front
    array[:, 12:18, :] = 2
    labels = Labels(labelmap=Labelmap(array, geometry, {1: "left_lung", 2: "right_lung"}))
    picture = pixels(label_projection(labels, shaded=False, width_in=3))
    centre = picture[picture.shape[0] * 4 // 10, picture.shape[1] // 2]
    np.testing.assert_allclose(centre, label_colour("left_lung"), atol=0.02)
    corner = picture[40, 40]
    np.testing.assert_allclose(corner, label_colour("right_lung"), atol=0.02)
    picture = pixels(label_projection(labels, highest=True, width_in=3))
    centre = picture[picture.shape[0] * 4 // 10, picture.shape[1] // 2]
    np.testing.assert_allclose(centre, label_colour("right_lung"), atol=0.02)


def test_empty_projections_are_refused():
    volume, labels = chest()
    with pytest.raises(InputError, match="at least one voxel"):
        projection(volume, mask=np.zeros(volume.geometry.shape, bool))
    with pytest.raises(InputError, match="at least one voxel"):
        label_projection(Labels(labelmap=labels, names=("airways",)))


def test_planes_without_any_label_show_the_whole_image():
    volume, labels = chest()
    empty = labels.with_array(np.zeros_like(labels.array))
    assert three_planes(volume, around=empty) == three_planes(volume)


def test_bars_say_which_value_is_missing():
    svg = bars({"share": {"left_lung": 40.0, "right_lung": float("nan")}}, label="%")
    drawn = bars({"share": {"left_lung": 40.0, "right_lung": 0.0}}, label="%")
    assert svg != drawn
    ET.fromstring(svg)


def test_histogram_counts_each_region_to_hundred_percent():
    values = np.arange(-1000.0, -500.0)
    svg = histogram({Region.LEFT_LUNG: (values, np.ones(500, np.int64))}, thresholds=(-950,))
    ET.fromstring(svg)
    assert "<script" not in svg


def test_histogram_of_an_empty_region_is_an_empty_chart():
    empty = (np.array([]), np.array([], dtype=np.int64))
    assert histogram({Region.LEFT_LUNG: empty}).startswith("<svg")


def test_figure_html_escapes_words_and_embeds_the_picture():
    text = figure_html(b"\x89PNG", alt='a "quoted" <tag>', caption="<b>", width_percent=50)
    assert 'alt="a &quot;quoted&quot; &lt;tag&gt;"' in text
    assert "<figcaption>&lt;b&gt;</figcaption>" in text
    assert 'src="data:image/png;base64,iVBORw=="' in text
    assert "image/svg+xml;base64," in figure_html("<svg/>", alt="chart")


def test_without_matplotlib_the_message_names_the_extra(monkeypatch):
    real = builtins.__import__

    def refuse(name, *rest, **more):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(InputError, match=re.escape('pip install "lungperfusion[report]"')):
        bars({"a": {"left_lung": 1.0}}, label="L")


@pytest.mark.parametrize("table", COLOURS.values(), ids=COLOURS)
def test_colour_tables_are_well_formed(table):
    borders = [v for v, _ in table.stops] if isinstance(table, ColourScale) else table.limits
    assert list(borders) == sorted(set(borders))
    if isinstance(table, ColourClasses):
        assert len(table.classes) == len(table.limits) + 1
    values = np.array([borders[0] - 1, borders[0], borders[-1], borders[-1] + 1], float)
    colours = table.colours(values)
    assert colours.shape == (4, 3)
    assert ((colours >= 0) & (colours <= 1)).all()


def test_iodine_below_40_hu_is_black_or_blue():
    colours = IODINE_PERFUSION.colours(np.linspace(0, 40, 81))
    assert (colours[1:, 2] > colours[1:, 0]).all()
    assert (colours[1:, 2] > colours[1:, 1]).all()
    green = IODINE_PERFUSION.colours(np.array([50.0]))[0]
    assert green[1] > max(green[0], green[2])


def test_a_value_on_a_class_border_belongs_to_the_class_above():
    classes = density_classes()
    on = classes.colours(np.array([-950.0, -950.5, -700, -200, -201]))
    assert hexadecimal(on[1]) == "#3b6fd4"
    assert hexadecimal(on[2]) == "#f0b429"
    assert hexadecimal(on[3]) == "#d1495b"
    assert hexadecimal(on[4]) == "#f0b429"
    assert classes.painted(np.array([-950.0, -950.5, -800.0])).tolist() == [False, True, False]


def test_stretched_scale_keeps_its_colours():
    wide = VENTILATION.stretched(0, 40, "mL")
    assert wide.unit == "mL"
    assert wide.range == (0, 40)
    np.testing.assert_allclose(
        wide.colours(np.array([10.0])), VENTILATION.colours(np.array([0.25])), atol=1e-6
    )


def test_lungs_and_lobes_look_unlike_classes_and_findings():
    """A lobe in the green of normal V/Q, outlined around it, was taken for a class."""
    anatomy = [*LUNGS, *LOBES]
    starts = ("vq_", "shunt", "dead_", "matched", "prm_", "perfusion_", "vessels_")
    classes = [name for name in STRUCTURES if name.startswith(starts)]
    assert len(anatomy) == 7
    assert len(classes) >= 12
    for part in anatomy:
        for found in classes:
            apart = np.subtract(STRUCTURES[part].colour, STRUCTURES[found].colour)
            assert np.linalg.norm(apart) > 0.2, (part, found)


def test_the_vq_ratio_is_neutral_where_both_match():
    low, middle, high = VQ_RATIO.colours(np.array([0.4, 1.0, 1.6]))
    assert np.ptp(middle) < 0.02
    assert low[2] > low[0]
    assert high[0] > high[2]
