"""Where the time of a training went, as tables."""

from rich import box
from rich.table import Table
from rich.text import Text

from cnncli.cli.render.console import out
from cnncli.training.profile import Profile

_SHOWN_OPERATORS = 10


def show_profile(profile: Profile) -> None:
    """The parts of the training, and the operators of the steps that were traced."""
    parts = profile.parts()
    whole = sum(part.seconds for part in parts)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("where the time went", "seconds", "share", "times", "ms each"):
        table.add_column(heading, justify="left" if heading.startswith("where") else "right")
    for part in parts:
        each = f"{1000 * part.seconds / part.times:,.2f}" if part.times else ""
        times = f"{part.times:,}" if part.times else ""
        table.add_row(part.name, f"{part.seconds:,.2f}", f"{part.seconds / whole:.1%}", times, each)
    out().print(table)
    if not profile.operators:
        out().print(Text("no trace: the training had too few steps"))
        return
    traced = sum(operator.seconds for operator in profile.operators)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in (f"operators, {profile.traced_steps} steps traced", "calls a step", "ms a step", "share"):
        table.add_column(heading, justify="left" if heading.startswith("operators") else "right")
    for operator in profile.operators[:_SHOWN_OPERATORS]:
        table.add_row(
            Text(operator.name),
            f"{operator.calls:,.1f}",
            f"{1000 * operator.seconds:,.3f}",
            f"{operator.seconds / traced:.1%}" if traced else "",
        )
    out().print(table)
    out().print(Text(f"trace: {profile.path}, to be opened at https://ui.perfetto.dev"), soft_wrap=True)
