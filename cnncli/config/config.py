"""A whole config: read, checked, and with the network it describes."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError

from cnncli.config.data import DataSpec, class_names, input_shape
from cnncli.config.document import Document, Problem, parse_scalar, read_document
from cnncli.config.log import LogSpec
from cnncli.config.model import read_blueprint
from cnncli.config.network import Network, lay_out
from cnncli.config.overrides import override
from cnncli.config.problems import did_you_mean, problems_of
from cnncli.config.train import OPTIMIZERS, SCHEDULES, TrainSpec
from cnncli.errors import ConfigError
from cnncli.fields import Choice, Spec
from cnncli.layers import LAYERS

_PACKAGE = Path(__file__).resolve().parents[1]


def config_folder() -> Path:
    """Where the bundled configs are: inside an installed package, beside it in a checkout."""
    inside = _PACKAGE / "configs"
    return inside if inside.is_dir() else _PACKAGE.parent / "configs"


def bundled_configs() -> dict[str, Path]:
    """Name -> file, in the order of names."""
    return {path.stem: path for path in sorted(config_folder().glob("*.yaml"))}


def find_config(config: str) -> Path:
    """The file that a config argument means: a path, or the bare name of a bundled config.

    Raises:
        ConfigError: there is neither.
    """
    path = Path(config)
    bundled = bundled_configs()
    if path.is_file():
        return path
    if config in bundled:
        return bundled[config]
    if path.is_dir():
        raise ConfigError(f"{config} is a folder", remedy="name a .yaml file in it")
    names = [*bundled, *(str(near) for near in path.parent.glob("*.yaml"))] if path.parent.is_dir() else [*bundled]
    raise ConfigError(
        f"there is no config {config}{did_you_mean(config, names)}",
        remedy="give a .yaml file or the name of a bundled config; cnncli init NAME writes one to start from",
    )


_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"


class ConfigFields(Spec):
    """The keys of a config. `model` is read by itself, because its blocks have to be opened first."""

    version: Literal[1] = 1
    name: Annotated[str, Field(pattern=_NAME, max_length=80)] | None = None
    data: DataSpec
    model: dict[str, Any]
    train: TrainSpec = TrainSpec()
    log: LogSpec = LogSpec()


@dataclass(frozen=True, kw_only=True)
class Config:
    """An experiment: what is learned from, by what network, and how.

    Attributes:
        name: `name:` of the config, else its file's.
        document: the file as read, with overrides.
        data, train, log: its sections, with their defaults.
        network: the layers with their shapes.
        classes: the names of the classes.
    """

    name: str
    document: Document
    data: DataSpec
    train: TrainSpec
    log: LogSpec
    network: Network
    classes: tuple[str, ...]

    def resolved(self) -> str:
        """The config as YAML with overrides put in and every default written out; reading it gives this config."""
        sections = {
            "version": 1,
            "name": self.name,
            "data": self.data.model_dump(mode="json"),
            "model": self.document.data["model"],
            "train": self.train.model_dump(mode="json"),
            "log": self.log.model_dump(mode="json"),
        }
        return yaml.dump(sections, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


def read_config(config: str, *, data_dir: Path, assignments: Sequence[str] = ()) -> Config:
    """Read a config and check everything that can be checked without data and without torch.

    Args:
        config: a path, or the bare name of a bundled config.
        data_dir: where the classes of an image folder are looked up.
        assignments: overrides, `path=value` each.

    Raises:
        ConfigError: the file is not there or not right; the message lists every problem with its place.
        UsageError: an override that cannot be put in.
        DataError: the number of classes is not known without the image folder.
    """
    kinds: dict[str, type[Choice]] = {**LAYERS, **OPTIMIZERS, **SCHEDULES}
    path = find_config(config)
    document = override(read_document(path), assignments, kinds)
    problems: list[Problem] = []
    about_layers: list[Problem] = []
    fields: ConfigFields | None = None
    network: Network | None = None
    classes: tuple[str, ...] = ()
    try:
        fields = ConfigFields.model_validate(document.data)
        problems += _contradictions(fields)
    except ValidationError as error:
        problems += problems_of(error, ConfigFields)
    blueprint = read_blueprint(document, about_layers)
    data = fields.data if fields else _data_alone(document.data)
    if data is not None and blueprint and not about_layers:
        classes = class_names(data, data_dir)
        network = lay_out(blueprint, input_shape(data), len(classes), about_layers)
        if not about_layers and not any(node.description.params for node in network.nodes):
            nothing = "no layer has weights, so there is nothing to learn; add logits"
            about_layers.append(Problem(("model", "layers"), nothing, at_key=True))
    if fields is not None and network is not None and not about_layers:
        problems += _unknown_layers(fields.log, network)
    document.raise_problems([*problems, *about_layers])
    assert fields is not None, "a validation without problems gives fields"
    assert network is not None, "and then there is a network"
    return Config(
        name=fields.name or _as_name(path.stem),
        document=document,
        data=fields.data,
        train=fields.train,
        log=fields.log,
        network=network,
        classes=classes,
    )


def _data_alone(data: dict[str, Any]) -> DataSpec | None:
    """The `data:` section of a config that has faults elsewhere, so that shapes can be checked all the same."""
    try:
        return DataSpec.model_validate(data.get("data"))
    except ValidationError:
        return None


def _contradictions(fields: ConfigFields) -> Iterator[Problem]:
    """What is wrong between sections that are right by themselves."""
    if fields.train.early_stopping and not fields.data.validation:
        route = ("train", "early_stopping")
        yield Problem(route, "judges by the validation images, but data.validation is 0; hold some back, say 0.1")


def _unknown_layers(log: LogSpec, network: Network) -> Iterator[Problem]:
    """Layers to be logged that the network does not have."""
    names = [node.name for node in network.nodes]
    for i, name in enumerate(log.layers or ()):
        if name not in names:
            yield Problem(("log", "layers", i), f"there is no layer {name}{did_you_mean(name, names)}")


def _as_name(stem: str) -> str:
    """A file's name made a name that runs can have."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-._")[:80] or "run"


class _Dumper(yaml.SafeDumper):
    """Writes strings so that this project's strict YAML reads them back as strings."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ANN401  yaml's signature
        return True


def _string(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = None if parse_scalar(text) == text else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _string)
