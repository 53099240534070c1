"""The configs that come with cnncli."""

from pathlib import Path

from cnncli.errors import ConfigError
from cnncli.spec.problems import did_you_mean

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
