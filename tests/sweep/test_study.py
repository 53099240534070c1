"""Which trials a sweep proposes, counts, prunes and takes over."""

import json
from collections.abc import Callable
from itertools import product
from pathlib import Path

import optuna
import pytest

from cnncli.errors import UsageError
from cnncli.sweep.study import TrialQueue
from cnncli.sweep.trial import Outcome, Task

NewQueue = Callable[..., TrialQueue]

RATE = "train.optimizer.adamw.lr"
CHANNELS = "model.layers.0.conv.out_channels"


def complete(queue: TrialQueue, task: Task, accuracy: float = 0.5) -> None:
    queue.finish(task.number, Outcome(status="complete", accuracy=accuracy, epoch=1, epochs=1))


def run_all(queue: TrialQueue, accuracy: Callable[[Task], float] = lambda task: 0.5) -> list[Task]:
    tasks = []
    while (task := queue.next_task()) is not None:
        complete(queue, task, accuracy(task))
        tasks.append(task)
    return tasks


def states(queue: TrialQueue) -> list[str]:
    return [trial.state.name for trial in queue.trials()]


def test_values_are_in_their_range_and_in_the_config(new_queue: NewQueue) -> None:
    queue = new_queue(f"{RATE}=log:1e-4..1e-1", f"{CHANNELS}=4,8", "train.epochs=int:2..5", trials=8)
    tasks = run_all(queue)
    assert len(tasks) == 8
    for task in tasks:
        assert 1e-4 <= task.values[RATE] <= 1e-1
        assert task.config.train.optimizer.lr == task.values[RATE]
        assert task.config.train.epochs == task.values["train.epochs"] in range(2, 6)
        assert task.config.network.nodes[0].shape[0] == task.values[CHANNELS]
        assert task.values[CHANNELS] in (4, 8)
    assert len({task.values[RATE] for task in tasks}) == 8


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_a_continued_sweep_proposes_what_an_uninterrupted_one_would(sampler: str, new_queue: NewQueue) -> None:
    def proposals(storage: str, *counts: int) -> list[float]:
        values: list[float] = []
        for count in counts:
            queue = new_queue(sampler=sampler, trials=count, folder=storage, storage=f"{storage}/journal.log")
            values += [task.values[RATE] for task in run_all(queue, lambda task: task.values[RATE])]
            queue.close()
        return values

    whole = proposals("whole", 12)
    assert len(set(whole)) == 12
    assert proposals("parts", 3, 11, 12) == whole


def test_the_seed_changes_the_proposals(new_queue: NewQueue) -> None:
    first, other = new_queue(trials=1), new_queue(trials=1, seed=1, folder="b", storage="b.log")
    assert run_all(first)[0].values != run_all(other)[0].values


def test_a_grid_is_trained_once_and_completely(new_queue: NewQueue) -> None:
    queue = new_queue(f"{CHANNELS}=4,8,16", "train.optimizer.adamw.lr=1e-3,1e-2", sampler="grid", trials=6)
    found = sorted((task.values[CHANNELS], task.values[RATE]) for task in run_all(queue))
    assert found == sorted(product((4, 8, 16), (1e-3, 1e-2)))
    assert queue.given_up is None


def test_choices_keep_their_types(new_queue: NewQueue) -> None:
    queue = new_queue("train.channels_last=true,auto", "data.augment.flip=none,both", sampler="grid", trials=4)
    kinds = {(task.config.train.channels_last, task.config.data.augment.flip) for task in run_all(queue)}
    assert kinds == {(True, "none"), (True, "both"), ("auto", "none"), ("auto", "both")}


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_proposals_above_a_limit_are_not_counted(sampler: str, new_queue: NewQueue) -> None:
    """The last layers of quickstart have 16 x 8 x 8 = 16 * 16 inputs and 10 outputs."""
    limited = new_queue(
        f"{RATE}=log:1e-4..1e-1", f"{CHANNELS}=4,8,16", limits=("ram=30kB",), sampler=sampler, trials=12
    )
    tasks = run_all(limited, lambda task: 0.1 * task.values[CHANNELS])
    assert len(tasks) == 12
    assert {task.values[CHANNELS] for task in tasks} == {4, 8}
    assert all(task.costs.ram <= 30 * 1024 for task in tasks)
    infeasible = [trial for trial in limited.trials() if trial.user_attrs["outcome"]["status"] == "infeasible"]
    assert infeasible, "16 is proposed at first"
    assert {trial.params[CHANNELS] for trial in infeasible} == {"16"}
    assert all(trial.constraints["ram"] > 0 for trial in infeasible)
    assert len(infeasible) < 12, "the sampler learns to avoid them, or they are a third"
    assert limited.finished() == 12


def test_proposals_that_are_rejected_in_a_row_end_a_sweep(new_queue: NewQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others between them begin the count again."""
    monkeypatch.setattr("cnncli.sweep.study.MOST_REJECTED", 6)
    rates, limits = f"{RATE}=log:1e-4..1e-1", ("ram=30kB",)
    queue = new_queue(rates, f"{CHANNELS}=4,16", limits=limits, trials=10)
    assert len(run_all(queue)) == 10
    assert len(queue.trials()) >= 10 + 6
    with pytest.raises(UsageError, match=r"none of 6 proposals in a row can be trained; the last one: ram "):
        new_queue(rates, f"{CHANNELS}=16,32", limits=limits, folder="b", storage="b.log").next_task()


def test_tpe_starts_with_ten_random_trials_that_are_trained(new_queue: NewQueue) -> None:
    params, limits = (f"{RATE}=log:1e-4..1e-1", f"{CHANNELS}=4,8,16"), ("ram=30kB",)

    def proposals(sampler: str) -> list[float]:
        queue = new_queue(*params, limits=limits, sampler=sampler, trials=13, folder=sampler, storage=f"{sampler}.log")
        return [task.values[RATE] for task in run_all(queue, lambda task: task.values[RATE])]

    tpe, random = proposals("tpe"), proposals("random")
    assert tpe[:10] == random[:10]
    assert tpe[10] != random[10]


def test_nothing_within_the_limits(new_queue: NewQueue) -> None:
    with pytest.raises(UsageError, match="all 3 combinations of values were tried; the last one: params") as caught:
        new_queue(f"{CHANNELS}=4,8,16", limits=("params=100",), trials=2).next_task()
    assert caught.value.remedy is not None
    assert "--limit" in caught.value.remedy


def test_a_sweep_in_which_nothing_could_be_trained_starts_again_with_other_settings(new_queue: NewQueue) -> None:
    first = new_queue(f"{CHANNELS}=4,8,16", limits=("params=100",), trials=2)
    with pytest.raises(UsageError):
        first.next_task()
    assert len(run_all(new_queue(f"{CHANNELS}=4,8,16", limits=("params=9k",), trials=2))) == 2
    with pytest.raises(UsageError, match="other settings"):
        new_queue(f"{CHANNELS}=4,8,16", limits=("params=8k",), trials=2)


def test_values_that_give_no_network_together(new_queue: NewQueue) -> None:
    """Each kernel fits alone; both together do not fit into an image of 16 pixels."""
    padding, kernels = "model.layers.0.conv.padding=0,1", [f"model.layers.{n}.conv.kernel_size=3,9" for n in (0, 2)]
    queue = new_queue(padding, "model.layers.2.conv.padding=0,1", *kernels, sampler="grid", trials=16)
    tasks = run_all(queue)
    assert 0 < len(tasks) < 16
    assert queue.given_up is not None
    reasons = [t.user_attrs["outcome"]["reason"] for t in queue.trials() if t.state.name == "PRUNED"]
    assert len(reasons) == 16 - len(tasks)
    assert all("kernel" in reason or "larger" in reason for reason in reasons), reasons


def test_values_are_not_tried_twice(new_queue: NewQueue) -> None:
    queue = new_queue(f"{CHANNELS}=4,8,16", "train.epochs=int:1..2", trials=6, sampler="tpe")
    tasks = run_all(queue, lambda task: float(task.values[CHANNELS] == 8))
    assert len({json.dumps(task.values) for task in tasks}) == len(tasks) == 6


def test_there_are_never_more_trials_than_planned(new_queue: NewQueue) -> None:
    """Two processes share a folder, a third one only the storage; all ask before any trial is finished."""
    queues = [new_queue(trials=5), new_queue(trials=5), new_queue(trials=5, folder="elsewhere")]
    tasks = [(queue, task) for _ in range(4) for queue in queues if (task := queue.next_task()) is not None]
    assert sorted(task.number for _, task in tasks) == [0, 1, 2, 3, 4]
    assert queues[0].running_elsewhere()
    for queue, task in tasks:
        complete(queue, task)
    assert [queue.finished() for queue in queues] == [5, 5, 5]
    assert [queue.next_task() for queue in queues] == [None, None, None]


def test_the_last_trial_is_given_out_once(new_queue: NewQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process, with a folder of its own, takes it between the count and the creation of the trial."""
    late, early = new_queue(trials=1), new_queue(trials=1, folder="elsewhere")
    create: Callable[..., int] = late._storage.create_new_trial
    taken: list[Task] = []

    def create_after_the_other(study_id: int, template: optuna.trial.FrozenTrial | None = None) -> int:
        taken.extend(filter(None, [early.next_task()]))
        return create(study_id, template)

    monkeypatch.setattr(late._storage, "create_new_trial", create_after_the_other)
    assert late.next_task() is None
    assert [task.number for task in taken] == [0]
    assert states(late) == ["RUNNING", "FAIL"]
    complete(early, taken[0])
    assert late.finished() == 1


def test_trials_of_a_process_that_has_ended_are_taken_over(new_queue: NewQueue) -> None:
    killed, living = new_queue(trials=3), new_queue(trials=3)
    lost, kept = killed.next_task(), living.next_task()
    assert lost is not None
    assert kept is not None
    assert killed.report(lost.number, 1, 0.25) is False
    other = new_queue(trials=3)
    first = other.next_task()
    assert first is not None
    assert first.number == 2, "the others are being trained"
    killed.close()
    taken = other.next_task()
    assert taken is not None
    assert (taken.number, taken.values) == (lost.number, lost.values)
    other.report(taken.number, 1, 0.25)  # the run was resumed, and its first epoch is reported again
    assert other.next_task() is None
    for task, queue in ((taken, other), (first, other), (kept, living)):
        complete(queue, task)
    assert states(other) == ["COMPLETE"] * 3


def test_a_process_that_was_killed_before_it_had_proposed_all_values(new_queue: NewQueue, tmp_path: Path) -> None:
    queue = new_queue(f"{RATE}=log:1e-4..1e-1", f"{CHANNELS}=4,8")
    task = queue.next_task()
    queue.close()
    assert task is not None
    journal = tmp_path / "journal.log"
    lines = journal.read_text().splitlines(keepends=True)
    cut = next(i for i, line in enumerate(lines) if CHANNELS in line and '"param_name"' in line)
    journal.write_text("".join(lines[:cut]) + lines[cut][:20])  # the last line is incomplete as well
    again = new_queue(f"{RATE}=log:1e-4..1e-1", f"{CHANNELS}=4,8")
    taken = again.next_task()
    assert taken is not None
    assert (taken.number, taken.values[RATE]) == (0, task.values[RATE])
    assert taken.values[CHANNELS] in (4, 8)
    complete(again, taken)
    assert states(again) == ["COMPLETE"]


def test_an_interrupted_trial_stays_open(new_queue: NewQueue) -> None:
    queue = new_queue(trials=1)
    task = queue.next_task()
    assert task is not None
    queue.finish(task.number, Outcome(status="interrupted"))
    queue.close()
    assert (states(queue), queue.finished()) == (["RUNNING"], 0)
    again = new_queue(trials=1)
    (resumed,) = run_all(again)
    assert (resumed.number, resumed.values) == (0, task.values)
    assert states(again) == ["COMPLETE"]


def test_trials_that_are_ended_early_count_and_failed_ones_do_not(new_queue: NewQueue) -> None:
    queue = new_queue(trials=3)
    for status in ("pruned", "failed", "diverged"):
        task = queue.next_task()
        assert task is not None
        queue.finish(task.number, Outcome(status=status, reason="because"))
    assert queue.finished() == 2
    assert len(run_all(queue)) == 1
    assert states(queue) == ["PRUNED", "FAIL", "PRUNED", "COMPLETE"]


def test_a_trial_below_the_median_is_pruned(new_queue: NewQueue) -> None:
    """Optuna's median pruner compares after five complete trials."""
    queue = new_queue(pruner="median", trials=7)
    for accuracy in (0.5, 0.6, 0.7, 0.8, 0.9):
        task = queue.next_task()
        assert task is not None
        assert queue.report(task.number, 1, accuracy) is False
        complete(queue, task, accuracy)
    for accuracy, pruned in ((0.69, True), (0.71, False)):
        task = queue.next_task()
        assert task is not None
        assert queue.report(task.number, 1, accuracy) is pruned
        complete(queue, task)


def test_hyperband_prunes(new_queue: NewQueue) -> None:
    queue = new_queue(pruner="hyperband", trials=8)
    pruned = 0
    while (task := queue.next_task()) is not None:
        accuracy = 0.9 - 0.05 * task.number
        if any(queue.report(task.number, epoch, accuracy) for epoch in range(1, 10)):
            queue.finish(task.number, Outcome(status="pruned"))
            pruned += 1
        else:
            complete(queue, task, accuracy)
    assert 0 < pruned < 8


def test_the_parameter_that_matters_is_important(new_queue: NewQueue) -> None:
    queue = new_queue(f"{RATE}=log:1e-4..1e-1", "train.label_smoothing=0..0.5", trials=16)
    run_all(queue, lambda task: task.values[RATE])
    importances = queue.importances()
    assert list(importances) == [RATE, "train.label_smoothing"]
    assert sum(importances.values()) == pytest.approx(1)
    assert importances[RATE] > 0.8
    few = new_queue(f"{RATE}=log:1e-4..1e-1", "train.label_smoothing=0..0.5", folder="few", storage="few.log", trials=3)
    run_all(few)
    assert few.importances() == {}


def test_another_sweep_of_the_same_name(new_queue: NewQueue) -> None:
    new_queue(trials=2).close()
    new_queue(trials=5).close()
    with pytest.raises(UsageError, match=r"other settings: params \(was .*\), limits \(was none\), seed \(was 0\)"):
        new_queue(f"{CHANNELS}=4,8", limits=("params=1M",), seed=3)


def test_a_database(new_queue: NewQueue, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'sweep.db'}"
    assert len(run_all(new_queue(trials=2, storage=url))) == 2
    study = optuna.load_study(study_name="sweep", storage=url)
    assert [trial.value for trial in study.trials] == [0.5] * 2


@pytest.mark.parametrize("storage", ["nope://x", "postgresql://nobody@nowhere/none"])
def test_a_storage_that_cannot_be_opened(storage: str, new_queue: NewQueue) -> None:
    with pytest.raises(UsageError, match=f"--storage {storage}"):
        new_queue(storage=storage)


def test_a_file_that_is_no_journal(new_queue: NewQueue, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello\nworld\n")
    with pytest.raises(UsageError, match="is not a journal of Optuna"):
        new_queue(storage="notes.txt")
