"""Trials trained in this process, or in several worker processes at the same time."""

import logging
import multiprocessing
import traceback
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import TypeAlias

from cnncli.errors import CnncliError
from cnncli.signals import leave_to_parent, left_to_parent
from cnncli.sweep.study import TrialQueue
from cnncli.sweep.trial import Outcome, Place, Task, TrialEpoch, train_trial

_log = logging.getLogger(__name__)

_WAIT_SECONDS = 0.2
"""How often it is checked whether a signal has arrived."""
_MOST_DEATHS = 3
"""A trial whose worker was killed so often is given up."""


@dataclass(frozen=True)
class Event:
    """A trial has been started (an outcome and an epoch are missing), trained for an epoch, or ended."""

    task: Task
    epoch: TrialEpoch | None = None
    outcome: Outcome | None = None


def train_trials(queue: TrialQueue, place: Place, *, workers: int, stop: Callable[[], bool]) -> Iterator[Event]:
    """Train the trials of a queue, until it has no more or `stop` is true.

    Args:
        queue: the trials.
        place: where to train them.
        workers: how many processes train at the same time; with one, this process trains.
        stop: whether to stop; the runs are left with a checkpoint.

    Raises:
        CnncliError: as `train_trial`.
    """
    if workers > 1:
        return _in_workers(queue, place, workers=workers, stop=stop)
    return _in_this_process(queue, place, stop=stop)


def _in_this_process(queue: TrialQueue, place: Place, *, stop: Callable[[], bool]) -> Iterator[Event]:
    while not stop() and (task := queue.next_task()) is not None:
        yield Event(task)
        training = train_trial(task, place, stop=stop)
        outcome = None
        pruned: bool | None = None
        while outcome is None:
            try:
                epoch = next(training) if pruned is None else training.send(pruned)
            except StopIteration as end:
                outcome = end.value
            else:
                pruned = queue.report(task.number, epoch.number, epoch.accuracy)
                yield Event(task, epoch=epoch)
        queue.finish(task.number, outcome)
        yield Event(task, outcome=outcome)


@dataclass(frozen=True)
class _Log:
    """A message of a worker's log."""

    level: int
    text: str


@dataclass(frozen=True)
class _Failure:
    """An exception in a worker."""

    error: type[CnncliError] | None
    message: str
    remedy: str | None = None


_FromWorker: TypeAlias = TrialEpoch | Outcome | _Log | _Failure


class _ForwardingHandler(logging.Handler):
    """Sends what a worker logs to the process that has the output."""

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self._connection = connection

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(OSError):  # the process that has started this one is gone, which stops the training
            self._connection.send(_Log(record.levelno, record.getMessage()))


def _work(connection: Connection, place: Place) -> None:
    """The main function of a worker: trains the tasks that it receives, until it receives None.

    Whatever arrives during an epoch asks it to stop: None, or the end of the process that has started it.
    """
    leave_to_parent()  # Ctrl-C reaches all processes; the first one passes it on
    logger = logging.getLogger("cnncli")
    logger.handlers = [_ForwardingHandler(connection)]
    logger.setLevel(logging.INFO)
    try:
        from cnncli.training.device import keep_freed_memory

        keep_freed_memory()
        while (task := connection.recv()) is not None:
            connection.send(_train(connection, task, place))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        pass  # the process that has started this one is gone; the run has a checkpoint
    except CnncliError as error:
        connection.send(_Failure(type(error), error.message, error.remedy))
    except Exception:
        connection.send(_Failure(None, traceback.format_exc()))


def _train(connection: Connection, task: Task, place: Place) -> Outcome:
    stopping = False
    training: Generator[TrialEpoch, bool, Outcome] = train_trial(
        task, place, stop=lambda: stopping or connection.poll()
    )
    pruned: bool | None = None
    while True:
        try:
            epoch = next(training) if pruned is None else training.send(pruned)
        except StopIteration as end:
            outcome: Outcome = end.value
            return outcome
        connection.send(epoch)
        answer = connection.recv()
        stopping = stopping or answer is None
        pruned = answer is True


@dataclass(eq=False)
class _Worker:
    """A worker process, as the process that has started it sees it."""

    process: BaseProcess
    connection: Connection
    task: Task | None = None


@dataclass(eq=False)
class _Pool:
    """Worker processes, each with at most one trial."""

    queue: TrialQueue
    place: Place
    workers: list[_Worker] = field(default_factory=list)
    lost: list[Task] = field(default_factory=list)
    deaths: dict[int, int] = field(default_factory=dict)

    def start(self) -> _Worker:
        """Start a worker that ignores Ctrl-C from its first instruction."""
        context = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
        ours, theirs = context.Pipe()
        process = context.Process(target=_work, args=(theirs, self.place), daemon=True)
        with left_to_parent():
            process.start()
        theirs.close()  # so that the end of the worker is noticed
        worker = _Worker(process, ours)
        self.workers.append(worker)
        return worker

    def assign(self, most: int) -> Iterator[Event]:
        """Give a trial to each idle worker, and start workers while there are trials."""
        while True:
            idle = next((worker for worker in self.workers if worker.task is None), None)
            if idle is None and len(self.workers) >= most:
                return
            task = self.lost.pop(0) if self.lost else self.queue.next_task()
            if task is None:
                return
            worker = idle or self.start()
            worker.task = task
            with suppress(OSError):  # it has ended, which `receive` notices
                worker.connection.send(task)
            yield Event(task)

    def receive(self, worker: _Worker) -> Iterator[Event]:
        """Handle a message of a worker, or its end."""
        try:
            message: _FromWorker = worker.connection.recv()
        except (EOFError, ConnectionResetError):
            yield from self._bury(worker)
            return
        match message:
            case _Log(level, text):
                _log.log(level, "%s", text)
            case _Failure(error, text, remedy):
                raise RuntimeError(text) if error is None else error(text, remedy=remedy)
            case TrialEpoch():
                assert worker.task is not None, "a worker without a task sends no epochs"
                pruned = self.queue.report(worker.task.number, message.number, message.accuracy)
                with suppress(OSError):  # likewise
                    worker.connection.send(pruned)
                yield Event(worker.task, epoch=message)
            case Outcome():
                assert worker.task is not None, "a worker without a task sends no outcomes"
                task, worker.task = worker.task, None
                self.queue.finish(task.number, message)
                yield Event(task, outcome=message)

    def _bury(self, worker: _Worker) -> Iterator[Event]:
        """A worker has ended on its own: its trial is resumed by another one."""
        self.workers.remove(worker)
        worker.process.join()
        if worker.task is None:
            return
        number = worker.task.number
        self.deaths[number] = self.deaths.get(number, 0) + 1
        how = _exit_words(worker.process.exitcode)
        if self.deaths[number] < _MOST_DEATHS:
            _log.warning("the worker of trial %d %s; the trial is resumed", number, how)
            self.lost.append(worker.task)
        else:
            outcome = Outcome(status="failed", reason=f"its worker {how}, {_MOST_DEATHS} times")
            self.queue.finish(number, outcome)
            yield Event(worker.task, outcome=outcome)

    def stop(self) -> None:
        """Ask all workers to stop; those that train send an outcome first."""
        for worker in self.workers:
            with suppress(OSError):  # likewise
                worker.connection.send(None)

    def close(self) -> None:
        """End all workers."""
        for worker in self.workers:
            worker.connection.close()
        for worker in self.workers:
            worker.process.join()


def _exit_words(code: int | None) -> str:
    if code is not None and code < 0:
        return f"was killed by signal {-code}"
    return f"ended with exit code {code}"


def _in_workers(queue: TrialQueue, place: Place, *, workers: int, stop: Callable[[], bool]) -> Iterator[Event]:
    pool = _Pool(queue, place)
    stopping = False
    try:
        while True:
            if not stopping and stop():
                stopping = True
                pool.stop()
            if not stopping:
                yield from pool.assign(workers)
            busy = {worker.connection: worker for worker in pool.workers if worker.task is not None}
            if not busy:
                return
            for connection in wait(list(busy), timeout=_WAIT_SECONDS):
                assert isinstance(connection, Connection), "only connections are waited for"
                yield from pool.receive(busy[connection])
    except KeyboardInterrupt:
        for worker in pool.workers:
            worker.process.kill()
        raise
    finally:
        pool.close()
