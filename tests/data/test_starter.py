"""The config that `cnncli init --from` writes fits the images, and its network sees the whole image."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

import cnncli
from cnncli.config.config import Config, parse_config
from cnncli.data.starter import input_size, look_at, starter_config
from cnncli.errors import DataError, UsageError
from cnncli.inspection.table import inspect_network
from tests.data.folders import Folder, images, write_folder


def config_of(path: Path) -> Config:
    return parse_config(starter_config(look_at(path)), name="starter", data_dir=Path("nowhere"))


def draw(root: Path, mode: str, width: int, height: int) -> Path:
    for name in ("cat", "dog"):
        for number in range(3):
            path = root / "train" / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new(mode, (width, height)).save(path)
    return root


@pytest.mark.parametrize(
    ("mode", "stored", "shape"),
    [
        ("L", (8, 8), (1, 8, 8)),
        ("RGB", (28, 30), (3, 32, 32)),
        ("I;16", (64, 64), (1, 64, 64)),
        ("RGB", (400, 600), (3, 64, 96)),
        ("1", (1000, 990), (1, 96, 96)),
        ("RGBA", (33, 90), (3, 32, 88)),
    ],
)
def test_size_channels_and_receptive_field(
    mode: str, stored: tuple[int, int], shape: tuple[int, int, int], tmp_path: Path
) -> None:
    config = config_of(draw(tmp_path / "pets", mode, stored[1], stored[0]))
    assert (config.network.input_shape, config.classes) == (shape, ("cat", "dog"))
    rows = inspect_network(config.network, "starter").rows
    before = rows[[row.type for row in rows].index("global_avg_pool") - 1]
    assert before.output_shape is not None
    assert before.receptive_field.size is not None
    assert all(seen >= side for seen, side in zip(before.receptive_field.size, shape[1:], strict=True))
    text = starter_config(look_at(tmp_path / "pets"))
    said = "x".join(map(str, before.receptive_field.size))
    assert f"whose units see {said} pixels" in text
    assert "x".join(map(str, before.output_shape[1:])) + " map" in text


def test_tables_and_arrays(tmp_path: Path) -> None:
    write_folder(tmp_path / "set", Folder(files=images("a", "b", "c", each=4)))
    rows = "".join(f"{name}/{number}.png,{name}\n" for name in ("a", "b", "c") for number in range(4))
    (tmp_path / "set" / "table.csv").write_text("path,label\n" + rows)
    np.savez(tmp_path / "arrays.npz", x_train=np.zeros((20, 30, 20, 3), np.uint8), y_train=np.arange(20) % 5)
    table, arrays = config_of(tmp_path / "set" / "table.csv"), config_of(tmp_path / "arrays.npz")
    assert (table.data.name, table.classes, table.network.input_shape) == ("csv", ("a", "b", "c"), (1, 8, 8))
    assert (arrays.data.name, len(arrays.classes), arrays.network.input_shape) == ("npz", 5, (3, 30, 20))


def test_names_of_folders_do_not_break_the_file(tmp_path: Path) -> None:
    root = draw(tmp_path / 'a "quoted": # folder', "L", 8, 8)
    (root / "train" / "dog").rename(root / "train" / "dog: # {x}")
    text = starter_config(look_at(root))
    assert yaml.safe_load(text)["data"]["path"] == str(root)
    assert config_of(root).classes == ("cat", "dog: # {x}")


def test_more_images_take_fewer_epochs(tmp_path: Path) -> None:
    for count, epochs, batch in ((40, 60, 16), (4000, 16, 64), (60_000, 5, 64)):
        labels = (np.arange(count) % 2).astype(np.uint8)
        np.savez(tmp_path / "a.npz", x_train=np.zeros((count, 4, 4), np.uint8), y_train=labels)
        train = config_of(tmp_path / "a.npz").train
        assert (train.epochs, train.batch_size) == (epochs, batch)


def test_what_is_no_data(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    for name, error, message in (
        ("nowhere", UsageError, "--from: not found: .*nowhere"),
        ("notes.txt", UsageError, "is no folder, table or array file"),
        (".", DataError, "no class folders"),
    ):
        with pytest.raises(error, match=message):
            look_at(tmp_path / name)


def test_sizes() -> None:
    assert input_size((5, 5)) == (8, 8)
    assert input_size((100, 300)) == (32, 96)
    assert input_size((3000, 2900)) == (96, 96)


def test_it_trains(tmp_path: Path) -> None:
    root = tmp_path / "pets"
    write_folder(root, Folder(files=images("cat", "dog", each=12)))
    (tmp_path / "pets.yaml").write_text(starter_config(look_at(root)))
    run = cnncli.train(tmp_path / "pets.yaml", epochs=1, out=tmp_path / "runs", overrides={"log.images": 0})
    assert run.classes == ("cat", "dog")
