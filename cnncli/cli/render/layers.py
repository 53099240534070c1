"""The layer table."""

from rich import box
from rich.table import Table
from rich.text import Text

from cnncli.analysis.rows import Inspection, Row
from cnncli.cli.render.console import out
from cnncli.geometry import Adaptive, Resampled, Sliding, Transposed, Window
from cnncli.spec.layers import Shape


def show_layers(inspection: Inspection) -> None:
    """Print the layer table."""
    console = out()
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    # Numbers are never broken: on a narrow terminal the names give way.
    table.add_column("layer", overflow="fold", min_width=10)
    table.add_column("kind", overflow="fold", min_width=8)
    table.add_column("k/s/p", no_wrap=True)
    for heading in ("output", "params", "MACs", "field", "jump"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_row("input", "", "", _compact(inspection.input_shape))
    for row in inspection.rows:
        table.add_row(*_cells(row))
    table.add_section()
    table.add_row("total", "", "", "", f"{inspection.params:,}", f"{inspection.macs:,}")
    console.print(Text(inspection.model, style="bold"))
    console.print(table)
    for row in inspection.rows:
        for note in row.notes:
            console.print(Text(f"{row.name}: {note}"), soft_wrap=True)
    legend = (
        "k/s/p: kernel, stride, padding; field: input pixels that a unit sees; jump: pixels from one unit to the next; "
        "MACs: multiply-accumulates for one image, bias not counted"
    )
    console.print(Text(legend, style="dim"))


def _cells(row: Row) -> tuple[str, ...]:
    field = row.receptive_field
    return (
        row.name,
        row.type,
        _window_cell(row.windows),
        _compact(row.output_shape),
        f"{row.params:,}" if row.params else "",
        f"{row.macs:,}" if row.macs else "",
        "all" if field.everywhere else _per_axis([str(size) for size in field.size]),
        "" if field.jump is None else _per_axis([str(jump) for jump in field.jump]),
    )


def _window_cell(windows: tuple[Window, ...]) -> str:
    """Kernel, stride and padding of a layer's windows, `d2` for a dilation of 2; `to 7` where only the size is set."""
    parts = [_window_parts(window) for window in windows]
    return "/".join(_per_axis(list(values)) for values in zip(*parts, strict=True))


def _window_parts(window: Window) -> tuple[str, ...]:
    match window:
        case Sliding():
            pad = str(window.before) if window.before == window.after else f"{window.before}+{window.after}"
            return (_kernel(window.kernel, window.dilation), str(window.stride), pad)
        case Transposed():
            return (_kernel(window.kernel, window.dilation), f"up {window.stride}", str(window.padding))
        case Adaptive() | Resampled():
            return (f"to {window.units}",)
    return ()


def _kernel(size: int, dilation: int) -> str:
    return f"{size}d{dilation}" if dilation > 1 else str(size)


def _per_axis(values: list[str]) -> str:
    """One value where the axes agree, else `height x width`."""
    return values[0] if len(set(values)) == 1 else "x".join(values)


def _compact(shape: Shape) -> str:
    return "x".join(map(str, shape))
