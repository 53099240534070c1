"""What the runs of one network are compared by."""

from cnncli.analysis.rows import Inspection
from cnncli.spec.config import Config


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
