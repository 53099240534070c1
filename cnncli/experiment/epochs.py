"""The epochs of an experiment, and what the processes do that only take part in them."""

from collections.abc import Callable, Iterator

from cnncli.experiment.setup import Experiment
from cnncli.training.fit import Epoch, fit
from cnncli.training.profile import Profile
from cnncli.training.progress import Progress


def epochs(
    experiment: Experiment,
    *,
    stop: Callable[[], bool],
    progress: Progress | None = None,
    notify: Callable[[str], None] = lambda message: None,
    profile: Profile | None = None,
) -> Iterator[Epoch]:
    """Train as the config says; see `fit`."""
    spec = experiment.config.train
    stopping = spec.early_stopping
    return fit(
        experiment.training,
        experiment.train,
        experiment.validation,
        classes=len(experiment.config.classes),
        epochs=spec.epochs,
        label_smoothing=spec.label_smoothing,
        clip_norm=spec.clip_norm,
        bf16=experiment.bf16,
        compiled=spec.compile and experiment.group.size == 1,
        patience=stopping.patience if stopping else None,
        metric=stopping.metric if stopping else "accuracy",
        progress=progress,
        stop=stop,
        notify=notify,
        profile=profile,
        group=experiment.group,
    )


def follow(experiment: Experiment, *, resumed: bool, stop: Callable[[], bool]) -> None:
    """What every process of a group but the first does while that one conducts the run: it writes and says nothing.

    Args:
        experiment: what to train.
        resumed: go on from the state that the first process has read.
        stop: whether somebody wants this process to stop; then all of them do.

    Raises:
        DivergedError, DeviceError: see `fit`.
    """
    if resumed:
        experiment.training.load_state_dict(experiment.group.from_first(None))
    for _ in epochs(experiment, stop=experiment.group.vote(stop)):
        pass
