"""The functions of the library: `cnncli.inspect`, `cnncli.train` and `cnncli.load_run`.

They print nothing; messages go to the logger `cnncli`.
"""

import json
import logging
import os
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnncli.capture.target import check_hint_names, find_graph
from cnncli.config.config import Config, change_config, read_config
from cnncli.errors import UsageError
from cnncli.inspection.graph import Graph, graph_of
from cnncli.inspection.table import LayerTable, inspect_graph

if TYPE_CHECKING:
    import torch
    from torch import nn

    from cnncli.run import Run

_log = logging.getLogger(__name__)


def inspect(
    target: "str | Path | Config | Run | nn.Module",
    *,
    input_shape: Sequence[int] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    batch: int = 1,
    ignore: Collection[str] = (),
) -> LayerTable:
    """The layer table of a network: shapes, costs and exact receptive fields.

    >>> import cnncli
    >>> table = cnncli.inspect("lenet5")
    >>> table
    <LayerTable lenet5: 8 layers, 61,706 parameters, 416,520 MACs>
    >>> table["conv2"].output_shape, table["conv2"].params
    ((16, 10, 10), 2416)
    >>> table["conv2"].receptive_field.size, table["conv2"].receptive_field.start
    ((14, 14), (-2, -2))
    >>> [row.name for row in table if row.type == "conv"]
    ['conv1', 'conv2']
    >>> "conv3" in table
    False
    >>> for hint in table.hints:
    ...     print(hint.layer, hint.name)
    avg_pool2 whole-input
    linear1 most-parameters

    It takes any `torch.nn.Module` that is called with one batch of images. The module is run once, on the `meta`
    device if it can be, and left as it was.

    >>> from torch import nn
    >>> module = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.MaxPool2d(2))
    >>> cnncli.inspect(module, input_shape=(1, 28, 28))
    <LayerTable Sequential: 2 layers, 80 parameters, 48,672 MACs>

    Args:
        target: a module, a config or its path, the name of a bundled config, a run or its directory, or code as text:
            `torchvision:NAME`, `package.module:Factory` or `path/file.py:Factory`, which runs that code. Also the path
            of an ONNX file (extra `onnx`), or of a file of TorchScript or torch.export, which runs the program in it.
        input_shape: `(C, H, W)`, without batch axis. Needed for a module, and for a file that does not say it; for a
            config it replaces the shape of its data.
        kwargs: arguments of the factory of a target in code.
        batch: images per batch, for the memory.
        ignore: names of hints to leave out.

    Raises:
        UsageError: the target, a shape or the name of a hint is invalid.
        ConfigError: the config is missing or invalid, or the module does not run on such an input.
        RunError: the directory is not a run.
    """
    check_hint_names(ignore)
    return inspect_graph(_graph(target, input_shape, kwargs or {}), batch=batch, ignore=ignore)


def _graph(
    target: "str | Path | Config | Run | nn.Module", input_shape: Sequence[int] | None, kwargs: Mapping[str, Any]
) -> Graph:
    if isinstance(target, str | Path):
        return find_graph(str(target), input_shape=input_shape, kwargs=kwargs)
    if kwargs:
        raise UsageError("kwargs are arguments for a factory, but the target is not one", remedy="omit kwargs")
    config = target if isinstance(target, Config) else getattr(target, "config", None)
    if isinstance(config, Config):
        if input_shape is not None:
            raise UsageError(
                "input_shape is for modules and paths; a config and a run have their own",
                remedy="give the path of the config instead",
            )
        return graph_of(config.network, config.name)

    from torch import nn

    from cnncli.capture.graph import graph_of_module

    if not isinstance(target, nn.Module):
        raise UsageError(
            f"cannot inspect an object of type {type(target).__name__}",
            remedy="give a torch.nn.Module, a config, a run, or the path or name of one",
        )
    name = type(target).__name__
    if input_shape is None:
        raise UsageError(f"the input shape of {name} is unknown", remedy="give input_shape=(C, H, W)")
    return graph_of_module(target, tuple(input_shape), name)


def train(
    config: str | Path | Config,
    *,
    out: str | Path = "runs",
    data_dir: str | Path | None = None,
    device: "torch.device | str" = "auto",
    overrides: Mapping[str, Any] | None = None,
    **settings: Any,  # noqa: ANN401  any value of a config
) -> "Run":
    """Train a network, and write its run directory with checkpoints and TensorBoard's event file.

    >>> import cnncli
    >>> run = cnncli.train("quickstart", epochs=3, batch_size=64, overrides={"log.images": 0})
    >>> run.config.train.epochs, run.classes[:3]
    (3, ('0', '1', '2'))
    >>> run.evaluate("val").accuracy > 0.8
    True

    Ctrl-C ends it with the checkpoint of the last epoch; `cnncli train --resume` continues from there.

    Args:
        config: a config, its path, or the name of a bundled config.
        out: the folder for the run directory, `<out>/<name>-<YYYYmmdd-HHMMSS>`.
        data_dir: the directory of data sets and downloads; by default `$CNNCLI_DATA`, else `data`.
        device: where to compute: a torch device, or `auto`, `cpu`, `cuda`, `cuda:1` or `mps`.
        overrides: other fields of the config: `{"data.size": 16}`.
        **settings: fields of the config's `train` section: `epochs`, `batch_size`, `seed`, `optimizer`, ...

    Returns:
        The finished run, with the best weights.

    Raises:
        ConfigError: the config is missing or invalid.
        UsageError: a setting is invalid.
        DataError: the data set is unavailable or damaged.
        DivergedError: a loss, gradient or weight became infinite or NaN.
        DeviceError: the device is unavailable or out of memory.
        DiskError: the run cannot be written.
    """
    from cnncli.experiment.disk_space import check_disk_space
    from cnncli.experiment.setup import prepare
    from cnncli.experiment.train import train_run
    from cnncli.run import load_run
    from cnncli.training.device import resolve_device
    from cnncli.training.progress import Progress
    from cnncli.training.run_directory import RunDirectory

    data_dir = _data_dir(data_dir)
    fields = {f"train.{name}": value for name, value in settings.items()} | dict(overrides or {})
    assignments = [f"{field}={json.dumps(value)}" for field, value in fields.items()]
    if isinstance(config, Config):
        config = change_config(config, assignments, data_dir=data_dir)
    else:
        config = read_config(str(config), data_dir=data_dir, assignments=assignments)
    used = resolve_device(device) if isinstance(device, str) else device
    experiment = prepare(config, data_dir=data_dir, device=used)
    check_disk_space(experiment, Path(out))
    run = RunDirectory.create(Path(out), config.name, datetime.now().astimezone())
    command = ["cnncli.train", config.name, *assignments]
    for epoch in train_run(experiment, run, command=command, resumed=False, progress=Progress(), stop=lambda: False):
        score = epoch.validation or epoch.train
        _log.info(f"epoch {epoch.number}/{config.train.epochs}: loss {score.loss:.4f}, accuracy {score.accuracy:.2%}")
    return load_run(run.path, data_dir=data_dir, device=used)


def load_run(path: str | Path, *, data_dir: str | Path | None = None, device: "torch.device | str" = "cpu") -> "Run":
    """Load a run with its best weights.

    >>> import cnncli
    >>> path = cnncli.train("quickstart", epochs=3).path
    >>> run = cnncli.load_run(path)
    >>> run.epoch <= 3, next(run.model.parameters()).shape
    (True, torch.Size([8, 1, 3, 3]))
    >>> digit = run.test.images[0, 0].numpy()  # (H, W)
    >>> [prediction] = run.predict(digit)
    >>> prediction.prediction in run.classes, 0 < prediction.probability <= 1
    (True, True)
    >>> run.evaluate().accuracy > 0.8
    True

    `model`, `classes`, `config`, `table` and `predict` need no data set. `evaluate` and `test` load it on first use,
    and download it if it is missing; `run.offline()` is the run without downloads.

    Args:
        path: the run directory.
        data_dir: the directory of data sets and downloads; by default `$CNNCLI_DATA`, else `data`.
        device: where to compute: a torch device, or `auto`, `cpu`, `cuda`, `cuda:1` or `mps`.

    Raises:
        RunError: the directory is not a run, or has no valid checkpoint.
        DataError: the image folder is missing, and the run, of an earlier version, does not name its classes.
        DeviceError: the device is unavailable.
    """
    from cnncli.run import load_run
    from cnncli.training.device import resolve_device

    used = resolve_device(device) if isinstance(device, str) else device
    return load_run(Path(path), data_dir=_data_dir(data_dir), device=used)


def _data_dir(given: str | Path | None) -> Path:
    """The same default as that of `--data-dir`."""
    return Path(given if given is not None else os.environ.get("CNNCLI_DATA") or "data")
