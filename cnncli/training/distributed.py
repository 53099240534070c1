"""Training in several processes: `torchrun` starts them, `torch.distributed` carries numbers between them.

Each process has its share of every batch. `DistributedDataParallel` averages the gradients, `whole_batch` puts batch
norm and dropout right, and what an epoch adds up is added up over all of them, so that all have the same weights at
every step. Only the first process writes and speaks.
"""

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import astuple, dataclass
from inspect import signature
from math import inf
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.rendezvous import rendezvous
from torch.nn.parallel import DistributedDataParallel

from cnncli.data.batches import Shard
from cnncli.errors import DeviceError, UsageError
from cnncli.training.device import is_out_of_memory
from cnncli.training.process_group import Group, State, StopRequest
from cnncli.training.sync_batch import WholeBatch

_LOADED, _SAME, _READY, _DONE, _LEFT, _FAILURE, _SAID = (
    f"cnncli/{key}" for key in ("loaded", "same", "ready", "done", "left", "failure", "said")
)
"""Keys of the store that torchrun keeps for its processes."""
_POLL = 0.05
"""Seconds; unlike a wait inside torch, sleeping so long lets signals be heard."""


@dataclass(frozen=True)
class Failure:
    """The first error that a process of the group met."""

    rank: int
    exit_code: int
    message: str


class Processes(Group):
    """All processes that a `torchrun`, or one on each of several machines, has started.

    They know of each other from the beginning; numbers can be exchanged from `start` on.

    Args:
        patience: seconds that one is given to print what went wrong, or to leave, while others wait for it.

    Raises:
        DeviceError: the address and port that the environment names is not where they can meet.
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        try:
            self._store, rank, size = next(rendezvous("env://"))
        except (dist.DistError, ValueError) as error:
            where = ":".join(os.environ.get(name, "?") for name in ("MASTER_ADDR", "MASTER_PORT"))
            raise DeviceError(
                f"the processes cannot meet at {where}: {next(iter(str(error).splitlines()), '')}",
                remedy="give torchrun, on every machine, the address of the first one, which the others reach, and a "
                "port that is free there: --master-addr and --master-port",
            ) from error
        self.share = Shard(rank, size)
        self._machine = os.environ.get("GROUP_RANK", "0")
        self._rank_here = int(os.environ["LOCAL_RANK"])
        here = os.environ.get("LOCAL_WORLD_SIZE", str(size))
        form = ("--standalone", "--nproc-per-node", here) if here == str(size) else ("...",)
        self.launcher = ("torchrun", *form, "-m", "cnncli")
        self._votes: list[_CommonVote] = []

    def start(self, device: torch.device) -> torch.device:
        """Connect the processes; the device of this one.

        Raises:
            DeviceError: the machine has fewer GPUs than processes, or none that can be trained on together.
            UsageError: the first process has a device of another kind.
        """
        if device.type == "mps":
            raise DeviceError("several processes cannot train on mps", remedy="use --device cpu")
        if device.type == "cuda":
            if self._rank_here >= torch.cuda.device_count():
                raise DeviceError(
                    f"process {self._rank_here} of this machine has no GPU: there are {torch.cuda.device_count()}",
                    remedy="give torchrun a --nproc-per-node of as many, or train on the CPU with --device cpu",
                )
            device = torch.device("cuda", self._rank_here)
            torch.cuda.set_device(device)
        self.check_same("device", device.type)
        # Connecting waits for all of them, half an hour where one never comes: here it is heard why.
        self._store.set(f"{_READY}/{self.share.rank}", "")
        self._await(*(f"{_READY}/{rank}" for rank in range(self.size)))
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        with self.loss_explained():
            dist.init_process_group(backend, store=self._store, rank=self.share.rank, world_size=self.size)
        return device

    def finish(self) -> None:
        """Leave the group together: the others wait until the first has written all there is to write.

        The first goes last, for the store may be its own.
        """
        if self.is_first:
            self._store.set(_DONE, "")
        else:
            self._await(_DONE)
        if dist.is_initialized():
            for vote in self._votes:
                vote.close()
            dist.destroy_process_group()
        if self.is_first:
            self._await(*(f"{_LEFT}/{rank}" for rank in range(1, self.size)), patience=self._patience)
        else:
            self._store.set(f"{_LEFT}/{self.share.rank}", "")

    # Before the first step

    @contextmanager
    def turn(self) -> Iterator[None]:
        """See `Group`."""
        key = f"{_LOADED}/{self._machine}"
        if self._rank_here:
            self._await(key)
        yield
        if not self._rank_here:
            self._store.set(key, "")

    def check_same(self, what: str, content: str) -> None:
        """See `Group`."""
        key = f"{_SAME}/{what}"
        if self.is_first:
            self._store.set(key, content)
            return
        self._await(key)
        if self._store.get(key).decode() != content:
            raise UsageError(
                f"process {self.share.rank} has not the same {what} as process 0",
                remedy="every machine needs the same config, options and data; where one can do less than the others, "
                "say so with --device and train.precision",
            )

    def from_first(self, state: State | None) -> State:
        """See `Group`."""
        with self.loss_explained():
            carried = [state]
            dist.broadcast_object_list(carried, src=0)
        assert carried[0] is not None
        return carried[0]

    def replicated(self, model: nn.Module) -> nn.Module:
        """See `Group`."""
        # Running statistics are the same in all processes. Torch 2.14 has a new name for not sending them around.
        known = signature(DistributedDataParallel).parameters
        unsent: Any = {"forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers": False}
        with self.loss_explained():
            return DistributedDataParallel(model, gradient_as_bucket_view=True, **unsent)

    # At every step

    def weight(self, images: int) -> float | None:
        """See `Group`; the gradients are averaged over the processes, not over the images."""
        return self.size / images

    def whole_batch(self, images: int) -> AbstractContextManager[object]:
        """See `Group`."""
        return WholeBatch(self.share, images)

    def over_all(self, loss: Tensor, correct: Tensor) -> tuple[Tensor, Tensor]:
        """See `Group`."""
        sums = self.summed(torch.stack((loss / self.size, correct.to(loss.dtype))))
        return sums[0], sums[1].to(correct.dtype)

    def summed(self, numbers: Tensor) -> Tensor:
        """See `Group`."""
        numbers = numbers.clone()
        dist.all_reduce(numbers)
        return numbers

    def vote(self, wish: Callable[[], bool]) -> StopRequest:
        """See `Group`."""
        vote = _CommonVote(wish)
        self._votes.append(vote)
        return vote

    # When one of them fails

    @contextmanager
    def loss_explained(self) -> Iterator[None]:
        """See `Group`."""
        try:
            yield
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise
            failure = self._failure()
            if failure is None and not isinstance(error, dist.DistError) and "gloo" not in str(error):
                raise
            raise _lost(failure) from error

    def fail(self, message: str, exit_code: int) -> Failure:
        """Tell the others of an error; the first one that a process has told of, maybe this."""
        mine = Failure(self.share.rank, exit_code, message)
        try:
            return _read_failure(self._store.compare_set(_FAILURE, "", json.dumps(astuple(mine))))
        except dist.DistError:  # the store has ended with the torchrun that kept it
            return mine

    def said(self) -> None:
        """The error has been printed."""
        with suppress(dist.DistError):
            self._store.set(_SAID, "")

    def wait_until_said(self) -> None:
        """Leave the process that prints the error time for it: torchrun ends all of them when one has ended."""
        deadline = time.monotonic() + self._patience
        with suppress(dist.DistError):
            while not self._store.check([_SAID]) and time.monotonic() < deadline:
                time.sleep(_POLL)

    def _failure(self) -> Failure | None:
        with suppress(dist.DistError):
            if self._store.check([_FAILURE]):
                return _read_failure(self._store.get(_FAILURE))
        return None

    def _await(self, *keys: str, patience: float = inf) -> None:
        """Wait until other processes have set keys, or for so many seconds. DeviceError if one fails meanwhile."""
        deadline = time.monotonic() + patience
        with self.loss_explained():
            while not self._store.check([*keys]) and time.monotonic() < deadline:
                if (failure := self._failure()) is not None:
                    raise _lost(failure)
                time.sleep(_POLL)


def _read_failure(record: bytes) -> Failure:
    return Failure(*json.loads(record))


def _lost(failure: Failure | None) -> DeviceError:
    why = ", without a word" if failure is None else f": {failure.message}"
    return DeviceError(
        f"another process of this training has ended{why}",
        remedy="perhaps the system ended it for want of memory; go on from the last checkpoint with --resume",
    )


class _CommonVote(StopRequest):
    """Asks all processes, and answers what came of the question before.

    The answer travels while the next step is computed, and nothing waits for a GPU.
    """

    def __init__(self, wish: Callable[[], bool]) -> None:
        super().__init__(wish)
        self._wishes = torch.zeros(1)
        self._asked: dist.Work | None = None

    def __call__(self) -> bool:
        self.close()
        self.granted = self.granted or bool(self._wishes)
        if not self.granted:
            self._wishes = torch.tensor([float(self._wish())])
            self._asked = dist.all_reduce(self._wishes, async_op=True)
        return self.granted

    def close(self) -> None:
        """Wait for the last answer."""
        if self._asked is not None:
            self._asked.wait()
            self._asked = None
