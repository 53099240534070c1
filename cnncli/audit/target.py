"""What is audited: a data set by its name, its folder or a config; and the config that its folds are trained with."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cnncli.config.config import STDIN, Config, find_config, named_configs, read_config
from cnncli.config.data import DataSpec, input_shape, table_format
from cnncli.config.datasets import STANDARD_DATA, known_dataset
from cnncli.errors import ConfigError, UsageError, did_you_mean
from cnncli.files import refuse_link

RECIPE, SMALL_RECIPE = "mnist-fast", "quickstart"
"""The bundled configs whose network and training are used, and the one for images of less than `_SMALL` pixels."""

_SMALL = 16
_FILES_SIZE = 48
"""Height and width of the images of a folder or a table, unless a config gives them."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """A data set to audit.

    Attributes:
        name: for people and file names: `mnist`, or the name of a folder.
        data: how it is read.
    """

    name: str
    data: DataSpec


def find_target(text: str, *, data_dir: Path) -> Target:
    """The data set that an argument names.

    Args:
        text: the name of a data set, an image folder, a table (`.csv`, `.parquet`, or a folder of one) or arrays
            (`.npz`), or a config, a run directory or `-` for a config on standard input, whose `data` section is read.
        data_dir: the data directory.

    Raises:
        UsageError: there is no such data set, folder or config.
        ConfigError, DataError: see `read_config`.
        RunError: the config of a run is a symbolic link.
    """
    names = list(STANDARD_DATA)
    if text in names:
        return Target(name=text, data=DataSpec.model_validate({"name": text}))
    path = Path(text)
    resolved = path / "resolved.yaml"
    refuse_link(resolved)
    kind: str | None = None
    if path.is_dir() and not resolved.is_file():
        kind = table_format(path) or "image-folder"
    elif path.is_file():
        kind = "npz" if path.suffix.lower() == ".npz" else table_format(path)
    if kind is not None:
        own = path.absolute()
        size = {} if kind == "npz" else {"size": _FILES_SIZE}
        name = (own.name if own.is_dir() else own.stem) or "images"
        return Target(name=name, data=DataSpec.model_validate({"name": kind, "path": str(own), **size}))
    try:
        config = str(resolved) if path.is_dir() else text if text == STDIN else str(find_config(text))
    except ConfigError:
        raise UsageError(
            f"no data set, folder or config called {text}{did_you_mean(text, [*names, *named_configs()])}",
            remedy="give the name of a data set such as mnist, a folder with one folder of images per class, or a "
            "config with a data section",
        ) from None
    data = read_config(config, data_dir=data_dir).data
    return Target(name=Path(data.path).name if data.path else data.name, data=data)


def fold_config(target: Target, recipe: str | None, *, seed: int, epochs: int | None, data_dir: Path) -> Config:
    """The network and training of a recipe on the images of another data set.

    The images have the size that the config of the target gives, else that of the recipe. Augmentation and
    normalization are those of the recipe.

    Args:
        target: whose images are trained on, all of them.
        recipe: a config; None for a bundled one that suits the size of the images.
        seed: of folds and training.
        epochs: None for those of the recipe.
        data_dir: the data directory.

    Raises:
        ConfigError: there is no such recipe, or its network does not fit the images.
        DataError: the image folder is missing.
    """
    data = target.data
    recipe = recipe or (SMALL_RECIPE if min(_stored_size(data, data_dir)) < _SMALL else RECIPE)
    prepared = read_config(recipe, data_dir=data_dir).data
    fields = {
        **data.model_dump(mode="json", exclude_defaults=True, exclude={"limit", "label_noise"}),
        **prepared.model_dump(mode="json", include={"normalize", "augment"}),
        "size": data.size or prepared.size,
    }
    assignments = [
        f"data={json.dumps(fields)}",
        "log={}",
        "train.early_stopping=null",
        f"train.seed={seed}",
        *([] if epochs is None else [f"train.epochs={epochs}"]),
    ]
    return _read_recipe(recipe, assignments, target=target, data_dir=data_dir)


def _read_recipe(recipe: str, assignments: Sequence[str], *, target: Target, data_dir: Path) -> Config:
    try:
        return read_config(recipe, data_dir=data_dir, assignments=assignments)
    except ConfigError as error:
        raise ConfigError(
            f"the network of {recipe} does not fit the images of {target.name}:\n{error.message}",
            remedy="choose another config with --config",
        ) from None


def _stored_size(data: DataSpec, data_dir: Path) -> tuple[int, ...]:
    """Height and width of the images as stored; those of own data have the size that they are read in."""
    if data.name not in STANDARD_DATA:
        return input_shape(data, data_dir)[1:]
    return known_dataset(data.name, data.split).native[1:]
