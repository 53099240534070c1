"""The layer table."""

from rich import box
from rich.table import Table
from rich.text import Text

from cnncli.analysis.rows import Inspection, Row
from cnncli.cli.render.console import out
from cnncli.geometry import Adaptive, Resampled, Sliding, Transposed, Window
from cnncli.spec.layers import written


def show_layers(inspection: Inspection) -> None:
    """Print the layer table."""
    console = out()
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title_justify="left")
    for heading in ("layer", "kind", "kernel", "stride", "pad"):
        table.add_column(heading, overflow="fold")
    for heading in ("output", "parameters", "MACs", "field", "jump"):
        table.add_column(heading, justify="right", overflow="fold")
    table.add_row("input", "", "", "", "", written(inspection.input_shape))
    for row in inspection.rows:
        table.add_row(*_cells(row))
    table.add_section()
    table.add_row("total", "", "", "", "", "", f"{inspection.params:,}", f"{inspection.macs:,}")
    console.print(Text(inspection.model, style="bold"))
    console.print(table)
    for row in inspection.rows:
        for note in row.notes:
            console.print(Text(f"{row.name}: {note}"), soft_wrap=True)
    console.print(
        Text(
            "field: input pixels that a unit sees; jump: pixels from one unit to the next; "
            "MACs: multiply-accumulates for one image, bias not counted",
            style="dim",
        ),
        soft_wrap=True,
    )


def _cells(row: Row) -> tuple[str, ...]:
    field = row.receptive_field
    kernel, stride, pad = _window_cells(row.windows)
    return (
        row.name,
        row.type,
        kernel,
        stride,
        pad,
        written(row.output_shape),
        f"{row.params:,}" if row.params else "",
        f"{row.macs:,}" if row.macs else "",
        "all" if field.everywhere else _per_axis([str(size) for size in field.size]),
        "" if field.jump is None else _per_axis([str(jump) for jump in field.jump]),
    )


def _window_cells(windows: tuple[Window, ...]) -> tuple[str, str, str]:
    """Kernel, stride and padding of a layer's windows."""
    kernels, strides, pads = [], [], []
    for window in windows:
        match window:
            case Sliding():
                kernels.append(f"{window.kernel}" + (f" d{window.dilation}" if window.dilation > 1 else ""))
                strides.append(str(window.stride))
                pads.append(str(window.before) if window.before == window.after else f"{window.before},{window.after}")
            case Transposed():
                kernels.append(f"{window.kernel}" + (f" d{window.dilation}" if window.dilation > 1 else ""))
                strides.append(f"1/{window.stride}")
                pads.append(str(window.padding))
            case Adaptive() | Resampled():
                kernels.append(f"to {window.units}")
    return _per_axis(kernels), _per_axis(strides), _per_axis(pads)


def _per_axis(values: list[str]) -> str:
    """One value where the axes agree, else `height x width`."""
    if not values or len(set(values)) == 1:
        return "".join(values[:1])
    return " x ".join(values)
