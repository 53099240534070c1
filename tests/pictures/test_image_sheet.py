"""Many images on one sheet."""

import numpy as np

from cnncli.pictures.canvas import BACKGROUND
from cnncli.pictures.image_sheet import IMAGE, Shown, image_sheet
from cnncli.pictures.layout import HEIGHT, WIDTH


def test_every_image_is_there_in_its_order_and_with_its_text() -> None:
    images = np.random.default_rng(0).integers(0, 256, (7, 5, 8, 3), dtype=np.uint8)
    sheet = image_sheet([Shown(image, ("a class", f"{number}")) for number, image in enumerate(images)], title="seven")
    assert list(sheet.boxes) == [(number,) for number in range(7)]
    places = []
    for number, image in enumerate(images):
        box = sheet.boxes[(number,)]
        assert box.scale == IMAGE // 8
        assert np.array_equal(sheet.colours(box), image)
        places.append((box.y, box.x))
        below = sheet.pixels[box.bottom + 1 : box.bottom + 26, box.x : box.right]
        assert (below != BACKGROUND).any(), "no text"
    assert places == sorted(places)
    assert len(set(places)) == 7


def test_large_images_are_not_enlarged_and_long_names_cut() -> None:
    image = np.zeros((224, 224, 3), np.uint8)
    sheet = image_sheet([Shown(image, ("long " * 100,))], title="one")
    assert sheet.boxes[(0,)].scale == 1
    assert sheet.pixels.shape[1] < 260


def test_a_card_has_those_for_which_there_is_room() -> None:
    images = np.random.default_rng(0).integers(0, 256, (24, 28, 28, 3), dtype=np.uint8)
    shown = [Shown(image, ("Ankle boot", "-> T-shirt/top")) for image in images]
    sheet = image_sheet(shown, title="many", card=True)
    assert sheet.pixels.shape[0] <= HEIGHT
    assert sheet.pixels.shape[1] <= WIDTH
    assert list(sheet.boxes) == [(number,) for number in range(len(sheet.boxes))]
    assert len(sheet.boxes) >= 6
    for (number,), box in sheet.boxes.items():
        assert np.array_equal(sheet.colours(box), images[number])
    huge = image_sheet([Shown(np.zeros((400, 400, 3), np.uint8), ("a",))] * 2, title="one", card=True)
    assert list(huge.boxes) == [(0,)]
