"""A whole config: found, read, validated, and with the network it describes."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import ConfigDict, Field, ValidationError

from cnncli.config.data import DataSpec, NormalizeSpec, class_names, input_shape
from cnncli.config.datasets import STANDARD_DATA, known_dataset
from cnncli.config.document import (
    Document,
    Problem,
    descend,
    dotted,
    parse_document,
    parse_scalar,
    read_document,
    read_stdin,
)
from cnncli.config.log import LogSpec
from cnncli.config.loss import LOSSES
from cnncli.config.model import read_blueprint
from cnncli.config.network import Network, lay_out
from cnncli.config.overrides import override
from cnncli.config.problems import SYNONYMS, fields_below, problems_of
from cnncli.config.train import OPTIMIZERS, SCHEDULES, TOP_K, Plateau, TrainSpec
from cnncli.errors import ConfigError, DataError, UsageError, did_you_mean, nearest
from cnncli.fields import Choice, NoBool, Spec, given
from cnncli.layers import LAYER_CHOICES
from cnncli.layers.init import INITS
from cnncli.printable import printable_name

_PACKAGE = Path(__file__).resolve().parents[1]


def config_folder() -> Path:
    """The directory of the bundled configs: in an installed package, or next to it in a checkout."""
    inside = _PACKAGE / "configs"
    return inside if inside.is_dir() else _PACKAGE.parent / "configs"


def bundled_configs() -> dict[str, Path]:
    """The bundled configs that are meant to be trained: name -> file, sorted by name."""
    return _configs_in(config_folder())


def classic_configs() -> dict[str, Path]:
    """The bundled configs of full-size networks, which are meant to be inspected: name -> file, sorted by name."""
    return _configs_in(config_folder() / "classics")


def named_configs() -> dict[str, Path]:
    """All bundled configs: name -> file, those to be trained first."""
    return bundled_configs() | classic_configs()


def _configs_in(folder: Path) -> dict[str, Path]:
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


_MAX_COMPARED = 1_000
"""Files beside a missing config whose names are compared with it."""


def find_config(config: str) -> Path:
    """The file of a config argument: a path, or the name of a bundled config.

    Raises:
        ConfigError: there is no such file and no such bundled config.
    """
    path = Path(config)
    bundled = named_configs()
    if config in bundled and not path.is_file():
        return bundled[config]
    if path.is_dir():
        raise ConfigError(f"{config} is a directory", remedy="name a .yaml file in it")
    if path.exists():  # also a pipe, which is what a shell passes for <(command)
        return path
    beside = islice(path.parent.glob("*.yaml"), _MAX_COMPARED) if path.parent.is_dir() else ()
    names = [*bundled, *map(str, beside)]
    raise ConfigError(
        f"config not found: {printable_name(config)}{did_you_mean(config, names)}",
        remedy="give a .yaml file or the name of a bundled config; cnncli init NAME writes a config to start from",
    )


STDIN = "-"
"""The config argument that stands for standard input."""

_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
_MAX_NAME = 80


def check_name(name: str) -> None:
    """Check the name of an experiment, which becomes part of the name of a folder.

    Raises:
        UsageError: it has other characters than those of `_NAME`, or is too long.
    """
    if not re.fullmatch(_NAME, name) or len(name) > _MAX_NAME:
        raise UsageError(
            f"--name {name!r} is not a valid name of an experiment",
            remedy="use letters, digits, '.', '_' and '-', first a letter or a digit, "
            f"and at most {_MAX_NAME} characters",
        )


_PLATEAU: dict[str, Any] = {
    "required": ["schedule"],
    "properties": {"schedule": {"anyOf": [{"const": "plateau"}, {"type": "object", "required": ["plateau"]}]}},
}
"""A JSON Schema of the sections `train` with this schedule."""


class ConfigFields(Spec):
    """The keys of a config. `model` is validated separately, after its blocks are expanded."""

    model_config = ConfigDict(
        json_schema_extra={
            "not": {
                "required": ["data", "train"],
                "properties": {
                    "data": {"required": ["validation"], "properties": {"validation": {"const": 0}}},
                    "train": {"anyOf": [given("early_stopping"), _PLATEAU]},
                },
            }
        }
    )

    version: Annotated[Literal[1], NoBool] = 1
    name: Annotated[str, Field(pattern=_NAME, max_length=_MAX_NAME)] | None = None
    data: DataSpec
    model: dict[str, Any]
    train: TrainSpec = TrainSpec()
    log: LogSpec = LogSpec()


@dataclass(frozen=True, kw_only=True)
class Config:
    """An experiment: data, network and training.

    Attributes:
        name: `name` of the config, or the name of its file, which is `stdin` for standard input.
        document: the file as read, with overrides.
        data, train, log: the sections, with defaults filled in.
        network: the layers with their shapes.
        classes: names of the classes.
    """

    name: str
    document: Document
    data: DataSpec
    train: TrainSpec
    log: LogSpec
    network: Network
    classes: tuple[str, ...]

    @property
    def has_random_weights(self) -> bool:
        """Whether the initial weights follow from the config and its seed, without other weights and without images."""
        measured = any(node.layer.init_needs_images for node in self.network.nodes)
        return self.train.init_from is None and not measured

    def resolved(self) -> str:
        """The config as YAML, with overrides and all defaults; reading it gives the same config.

        It has the classes, the size and the channels of own data, so that it can be read without them.
        """
        data = self.data.model_dump(mode="json")
        if self.data.name not in STANDARD_DATA:
            channels, *size = self.network.input_shape
            data |= {"classes": list(self.classes), "size": size, "channels": channels}
        sections = {
            "version": 1,
            "name": self.name,
            "data": data,
            "model": self.document.data["model"],
            "train": self.train.model_dump(mode="json"),
            "log": self.log.model_dump(mode="json"),
        }
        return yaml.dump(sections, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


_CHOICES: dict[str, type[Choice]] = {**SCHEDULES, **INITS, **LAYER_CHOICES, **OPTIMIZERS, **LOSSES}


def read_config(config: str, *, data_dir: Path, assignments: Sequence[str] = ()) -> Config:
    """Read a config and validate all that can be validated without data and without torch.

    Args:
        config: a path, the name of a bundled config, or `-` for standard input.
        data_dir: the data directory, in which an image folder is looked up for its classes.
        assignments: overrides, each `path=value`.

    Raises:
        ConfigError: the file is missing or invalid; the message lists every problem with its position.
        UsageError: an override is invalid.
        DataError: the number of classes is unknown because the image folder is missing.
    """
    document = read_stdin() if config == STDIN else read_document(find_config(config))
    name = _as_name(Path(document.name).stem)
    return _validate(override(document, assignments, _CHOICES), name=name, data_dir=data_dir)


def field_named(name: str, *, exactly: bool) -> str:
    """The dotted path of the field of configs with this name, or almost this name; empty if there is none.

    The fields of the optimizer and of the schedule are those of the default ones.
    """
    fields: dict[str, str] = {}
    for route in fields_below(ConfigFields):
        fields.setdefault(str(route[-1]), dotted(route))
    return fields.get(nearest(SYNONYMS.get(name, name), fields, cutoff=1.0 if exactly else 0.85), "")


def parse_config(text: str, *, name: str, data_dir: Path) -> Config:
    """The config in a text, which error messages call `name`; see `read_config`."""
    return _validate(parse_document(text, name=name), name=name, data_dir=data_dir)


def change_config(config: Config, assignments: Sequence[str], *, data_dir: Path, option: str = "--set") -> Config:
    """The config with more overrides; see `read_config` and `override`."""
    changed = override(config.document, assignments, _CHOICES, option=option)
    return _validate(changed, name=config.name, data_dir=data_dir)


MAY_CHANGE = (("name",), ("train", "epochs"), ("train", "early_stopping"), ("train", "on_nan"), ("log",))
"""The fields that may change when a run is resumed."""


def needs_force(field: str) -> bool:
    """Whether a field may change when a run is resumed by force: the learning rate, and the schedule."""
    return bool(re.fullmatch(r"train\.schedule(\..+)?|train\.optimizer\.[^.]+\.lr", field))


def changed_settings(before: str, after: str, *, name: str) -> list[str]:
    """The fields in which two resolved configs differ, without those of `MAY_CHANGE`: dotted paths.

    Args:
        before, after: what `Config.resolved` gave.
        name: of the file for messages.

    Raises:
        ConfigError: one of them is not YAML.
    """
    old, new = (parse_document(each, name=name).data for each in (before, after))
    if not isinstance(descend(old, ("data", "classes")), list):  # an older run names no classes; its weights must fit
        for each in (old, new):
            each.get("data", {}).pop("classes", None)
    changed = [each for each in _differences(old, new) if not any(each[: len(may)] == may for may in MAY_CHANGE)]
    return [dotted(route) for route in changed]


def _differences(before: object, after: object, route: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The routes at which two nested mappings differ."""
    if isinstance(before, dict) and isinstance(after, dict):
        keys = [*before, *(key for key in after if key not in before)]
        return [each for key in keys for each in _differences(before.get(key), after.get(key), (*route, str(key)))]
    return [] if before == after else [route]


def _validate(document: Document, *, name: str, data_dir: Path) -> Config:
    """The config in a document; `name` is its name unless the document has one."""
    problems: list[Problem] = []
    layer_problems: list[Problem] = []
    fields: ConfigFields | None = None
    network: Network | None = None
    classes: tuple[str, ...] = ()
    try:
        fields = ConfigFields.model_validate(document.data)
        problems += _contradictions(fields)
    except ValidationError as error:
        problems += problems_of(error, ConfigFields, document.data)
    blueprint = read_blueprint(document, layer_problems)
    data = fields.data if fields else _data_alone(document.data)
    if data is not None and blueprint and not layer_problems:
        try:
            classes, shape = class_names(data, data_dir), input_shape(data, data_dir)
        except DataError as error:  # of the folder, or the file
            place = document.place(("data", "path"))
            raise DataError(f"{place} {error.message}", remedy=error.remedy) from None
        if fields is not None:
            problems += _wrong_channels(data, shape[0])
        network = lay_out(blueprint, shape, len(classes), layer_problems)
        if not layer_problems and not any(node.description.params for node in network.nodes):
            layer_problems.append(Problem(("model", "layers"), "no layer has weights; add logits", at_key=True))
        elif not layer_problems and not _is_trained_from_the_start(network):
            problem = "every layer is frozen in the first epoch; leave one that is trained"
            layer_problems.append(Problem(("model", "layers"), problem, at_key=True))
    if fields is not None and network is not None and not layer_problems:
        problems += _unknown_layers(fields.log, network)
        problems += _unknown_skipped(fields.train, network)
    if fields is not None and classes:
        problems += _unknown_classes(fields, classes)
        problems += _large_top_k(fields.train, len(classes))
        problems += _classes_of_no_image(fields.data)
    document.raise_problems([*problems, *layer_problems])
    assert fields is not None, "a config without problems has fields"
    assert network is not None, "a config without problems has a network"
    return Config(
        name=fields.name or name,
        document=document,
        data=fields.data,
        train=fields.train,
        log=fields.log,
        network=network,
        classes=classes,
    )


def _is_trained_from_the_start(network: Network) -> bool:
    """Whether some weight is trained in the first epoch."""
    return any(not tuning.frozen_epochs for node in network.nodes for tuning in node.layer.tunings())


def _data_alone(data: dict[str, Any]) -> DataSpec | None:
    """The `data:` section of a config that is invalid elsewhere, so that shapes can be checked even then."""
    try:
        return DataSpec.model_validate(data.get("data"))
    except ValidationError:
        return None


def _contradictions(fields: ConfigFields) -> Iterator[Problem]:
    """Contradictions between sections that are valid by themselves."""
    if fields.train.early_stopping and not fields.data.validation:
        route = ("train", "early_stopping")
        yield Problem(route, "needs validation images, but data.validation is 0; set it to 0.1, for example")
    if isinstance(fields.train.schedule, Plateau) and not fields.data.validation:
        route = ("train", "schedule")
        yield Problem(route, "plateau needs validation images, but data.validation is 0; set it to 0.1, for example")


def _wrong_channels(data: DataSpec, channels: int) -> Iterator[Problem]:
    """Augmentation and normalization that images of so many channels cannot have."""
    augment, normalize = data.augment, data.normalize
    for name in ("saturation", "hue"):
        if channels == 1 and getattr(augment, name):
            yield Problem(("data", "augment", name), "gray images have no color; remove it, or set data.channels to 3")
    if isinstance(normalize, NormalizeSpec):
        for name in ("mean", "std"):
            if (count := len(getattr(normalize, name))) not in (1, channels):
                route = ("data", "normalize", name)
                yield Problem(
                    route, f"{name} must be one number, or one for each of {channels} channels, found {count}"
                )
    if isinstance(augment.fill, tuple) and len(augment.fill) != channels:
        values = "value" if channels == 1 else "values"
        yield Problem(("data", "augment", "fill"), f"must have {channels} {values}, one for each channel")


def _unknown_layers(log: LogSpec, network: Network) -> Iterator[Problem]:
    """Layers in `log.layers` that the network does not have."""
    names = [node.name for node in network.nodes]
    for i, name in enumerate(log.layers or ()):
        if name not in names:
            yield Problem(("log", "layers", i), f"unknown layer: {name}{did_you_mean(name, names)}")


def _unknown_classes(fields: ConfigFields, classes: Sequence[str]) -> Iterator[Problem]:
    """Names in `train.class_weights` that are not classes; those of an image folder may be unknown without it."""
    weights, count = fields.train.class_weights, fields.data.classes
    if isinstance(count, int) and list(classes) == [*map(str, range(count))]:
        return
    for name in weights if isinstance(weights, dict) else ():
        if name not in classes:
            route = ("train", "class_weights", name)
            yield Problem(route, f"unknown class: {name}{did_you_mean(name, classes)}", at_key=True)


def _large_top_k(train: TrainSpec, classes: int) -> Iterator[Problem]:
    """A top-k accuracy that is always 1; that of the default k is omitted then."""
    if train.top_k >= classes and train.top_k != TOP_K:
        message = f"must be less than the number of classes, {classes}, found {train.top_k}"
        yield Problem(("train", "top_k"), message)


def _classes_of_no_image(data: DataSpec) -> Iterator[Problem]:
    """Names in `data.classes` that the data set does not have; those of own data are checked when they are read."""
    if data.name not in STANDARD_DATA or not isinstance(data.classes, tuple):
        return
    known = known_dataset(data.name, data.split).classes
    for i, name in enumerate(data.classes):
        if name not in known:
            yield Problem(("data", "classes", i), f"no class of {data.name}: {name}{did_you_mean(name, known)}")


def _unknown_skipped(train: TrainSpec, network: Network) -> Iterator[Problem]:
    """Layers and blocks in `train.init_from.skip` that the network does not have."""
    names = [node.name for node in network.nodes]
    blocks = {".".join(parts[:i]) for parts in (name.split(".") for name in names) for i in range(1, len(parts))}
    for i, name in enumerate(train.init_from.skip if train.init_from else ()):
        if name not in {*names, *blocks}:
            route = ("train", "init_from", "skip", i)
            yield Problem(route, f"unknown layer: {name}{did_you_mean(name, [*names, *sorted(blocks)])}")


def _as_name(stem: str) -> str:
    """The name of a file as a valid name of an experiment."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-._")[:_MAX_NAME] or "run"


class _Dumper(yaml.SafeDumper):
    """Quotes strings that `parse_scalar` would read as something else."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ANN401  yaml's signature
        return True


def _string(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = None if parse_scalar(text) == text else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _string)
