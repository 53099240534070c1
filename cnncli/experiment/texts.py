"""The text pages of a run's event file."""

from cnncli.analysis.rows import Inspection
from cnncli.spec.config import Config
from cnncli.spec.layers import written


def layer_page(inspection: Inspection) -> str:
    """The layer table as Markdown."""
    lines = [
        "| layer | kind | output | parameters | MACs | receptive field | jump |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for row in inspection.rows:
        field = row.receptive_field
        size = "the whole input" if field.everywhere else written(field.size)
        jump = "" if field.jump is None else " x ".join(map(str, field.jump))
        lines.append(
            f"| {row.name} | {row.type} | {written(row.output_shape)} "
            f"| {row.params:,} | {row.macs:,} | {size} | {jump} |"
        )
    lines.append(f"| total | | | {inspection.params:,} | {inspection.macs:,} | | |")
    notes = [f"- {row.name}: {note}" for row in inspection.rows for note in row.notes]
    return "\n".join([*lines, "", *notes])


def settings(config: Config, inspection: Inspection) -> dict[str, bool | float | str]:
    """What the runs of one network are compared by."""
    return {
        "model": config.name,
        "data": config.data.name,
        "parameters": inspection.params,
        "optimizer": config.train.optimizer.word(),
        "lr": config.train.optimizer.lr,
        "schedule": config.train.schedule.word(),
        "epochs": config.train.epochs,
        "batch_size": config.train.batch_size,
        "label_smoothing": config.train.label_smoothing,
        "seed": config.train.seed,
    }
