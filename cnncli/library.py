"""The functions of the library: `cnncli.inspect`."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from cnncli.capture.target import check_hint_names, find_graph
from cnncli.inspection.table import LayerTable, inspect_graph


def inspect(
    target: str | Path,
    *,
    input_shape: Sequence[int] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    batch: int = 1,
    ignore: Collection[str] = (),
) -> LayerTable:
    """Shapes, costs and exact receptive fields of a network, as typed rows.

    >>> import cnncli
    >>> lenet5 = cnncli.inspect("lenet5")
    >>> lenet5.params, lenet5.macs
    (61706, 416520)
    >>> conv2 = lenet5.row("conv2")
    >>> conv2.output_shape, conv2.receptive_field.size, conv2.receptive_field.start
    ((16, 10, 10), (14, 14), (-2, -2))
    >>> for hint in lenet5.hints:
    ...     print(hint.layer, hint.name)
    avg_pool2 whole-input
    linear1 most-parameters

    Args:
        target: a config or the name of a bundled one, a run directory, `torchvision:NAME`, `package.module:Factory` or
            `path/file.py:Factory`. The last three run the code that they name.
        input_shape: `(C, H, W)`, without batch axis; what a config says of its data, unless given.
        kwargs: arguments of the factory.
        batch: images at once, for the memory.
        ignore: names of hints that are not wanted.

    Raises:
        UsageError: the target or a hint's name means nothing.
        ConfigError: the config is not there or not right.
        RunError: the directory is not that of a run.
    """
    check_hint_names(ignore)
    return inspect_graph(
        find_graph(str(target), input_shape=input_shape, kwargs=kwargs or {}), batch=batch, ignore=ignore
    )
