"""The processes that train one network together: `torchrun` starts them, `torch.distributed` connects them.

Each process gets a shard of every batch. `DistributedDataParallel` averages the gradients, `SyncBatch` gives batch norm
and dropout the whole batch, and sums are taken over all processes, so that all have the same weights after every step.
Only process 0 writes files and prints.
"""

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import astuple, dataclass
from inspect import signature
from math import inf
from typing import Any, Self, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch._C._distributed_c10d import HashStore, Store  # torch.distributed does not declare them to type checkers
from torch.distributed.rendezvous import rendezvous
from torch.nn.parallel import DistributedDataParallel

from cnncli.data.batches import WHOLE, Shard
from cnncli.errors import DeviceError, UsageError
from cnncli.training.device import is_out_of_memory
from cnncli.training.sync_batch import SyncBatch

State = TypeVar("State")

_LOADED, _SAME, _READY, _DONE, _LEFT, _FAILURE, _PRINTED = (
    f"cnncli/{key}" for key in ("loaded", "same", "ready", "done", "left", "failure", "printed")
)
"""Keys of the store that torchrun provides to its processes."""
_POLL = 0.05
"""Seconds between two checks of the store. Unlike a wait inside torch, sleeping lets signal handlers run."""


@dataclass(frozen=True)
class Failure:
    """The first error in a process of the group."""

    rank: int
    exit_code: int
    message: str


class ProcessGroup:
    """The processes that train together; without arguments, this process alone.

    They share a store from the start, and exchange tensors once they are connected.

    Args:
        store: shared by all processes.
        shard: the part of every batch that this process gets.
        timeout: seconds a process is given to print an error, or to leave, while others wait for it.

    Attributes:
        shard: as given.
        launcher: the command that starts the program in as many processes.
    """

    def __init__(self, store: Store | None = None, shard: Shard = WHOLE, *, timeout: float = 0.0) -> None:
        self._store = store or HashStore()  # a store within this process
        self.shard = shard
        self._timeout = timeout
        self._machine = os.environ.get("GROUP_RANK", "0")
        self._local_rank = int(os.environ["LOCAL_RANK"]) if self.size > 1 else 0
        local_size = os.environ.get("LOCAL_WORLD_SIZE", str(self.size))
        options = ("--standalone", "--nproc-per-node", local_size) if local_size == str(self.size) else ("...",)
        self.launcher = ("torchrun", *options, "-m", "cnncli") if self.size > 1 else ("cnncli",)
        self._stop_requests: list[StopRequest] = []

    @classmethod
    def of_torchrun(cls, timeout: float) -> Self:
        """The processes that one `torchrun`, or one on each of several machines, has started.

        Raises:
            DeviceError: the processes cannot connect at the address and port in the environment.
        """
        try:
            store, rank, size = next(rendezvous("env://"))
        except (dist.DistError, ValueError) as error:
            address = ":".join(os.environ.get(name, "?") for name in ("MASTER_ADDR", "MASTER_PORT"))
            raise DeviceError(
                f"the processes cannot connect at {address}: {next(iter(str(error).splitlines()), '')}",
                remedy="on every machine, give torchrun an address of the first machine that all can reach, and a "
                "free port on it: --master-addr and --master-port",
            ) from error
        return cls(store, Shard(rank, size), timeout=timeout)

    @property
    def size(self) -> int:
        """Number of processes."""
        return self.shard.size

    @property
    def is_first(self) -> bool:
        """Whether this is process 0, which writes the run directory and prints."""
        return self.shard.rank == 0

    def connect(self, device: torch.device) -> torch.device:
        """Connect the processes; returns the device of this one, which has the type of `device`.

        Raises:
            DeviceError: the machine has fewer GPUs than processes, or its GPU cannot be used by several processes.
            UsageError: process 0 has a device of another type, or one GPU is chosen for all processes.
        """
        if self.size == 1:
            return device
        if device.index is not None:
            raise UsageError(
                f"device {device} is one GPU, but each of the {self.size} processes needs its own",
                remedy="use --device cuda, or choose GPUs with CUDA_VISIBLE_DEVICES=1,2",
            )
        if device.type == "mps":
            raise DeviceError("training in several processes is not supported on mps", remedy="use --device cpu")
        if device.type == "cuda":
            if self._local_rank >= torch.cuda.device_count():
                raise DeviceError(
                    f"no GPU for process {self._local_rank} of this machine, which has {torch.cuda.device_count()}",
                    remedy="set --nproc-per-node of torchrun to the number of GPUs, or train with --device cpu",
                )
            device = torch.device("cuda", self._local_rank)
            torch.cuda.set_device(device)
        self.check_same("device", device.type)
        # torch would wait half an hour for a process that has ended; here its error is noticed.
        self._store.set(f"{_READY}/{self.shard.rank}", "")
        self._wait_for(*(f"{_READY}/{rank}" for rank in range(self.size)))
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        with self.peer_errors_explained():
            dist.init_process_group(backend, store=self._store, rank=self.shard.rank, world_size=self.size)
        return device

    def close(self) -> None:
        """Leave the group once process 0 has written everything; process 0 leaves last, as it may hold the store."""
        if self.is_first:
            self._store.set(_DONE, "")
        else:
            self._wait_for(_DONE)
        if dist.is_initialized():
            for request in self._stop_requests:
                request.wait()
            dist.destroy_process_group()
        if self.is_first:
            self._wait_for(*(f"{_LEFT}/{rank}" for rank in range(1, self.size)), timeout=self._timeout)
        else:
            self._store.set(f"{_LEFT}/{self.shard.rank}", "")

    @contextmanager
    def local_main_first(self) -> Iterator[None]:
        """On each machine, one process runs the body before the others do."""
        key = f"{_LOADED}/{self._machine}"
        if self._local_rank:
            self._wait_for(key)
        yield
        if not self._local_rank:
            self._store.set(key, "")

    def check_same(self, what: str, content: str) -> None:
        """Raise UsageError in every process whose `content` is not that of process 0."""
        key = f"{_SAME}/{what}"
        if self.is_first:
            self._store.set(key, content)
            return
        self._wait_for(key)
        if self._store.get(key).decode() != content:
            raise UsageError(
                f"the {what} of process {self.shard.rank} differs from that of process 0",
                remedy="use the same config, options and data on every machine; set --device and train.precision "
                "where the machines differ",
            )

    def broadcast(self, state: State | None) -> State:
        """The state given by process 0; the other processes pass None."""
        objects = [state]
        if self.size > 1:
            with self.peer_errors_explained():
                dist.broadcast_object_list(objects, src=0)
        assert objects[0] is not None
        return objects[0]

    def replicate(self, model: nn.Module) -> nn.Module:
        """The model, with gradients that are means over all processes after each backward pass."""
        if self.size == 1:
            return model
        # Buffers need no exchange: running statistics are equal in all processes. torch 2.14 renames the argument.
        known = signature(DistributedDataParallel).parameters
        buffers: Any = {"forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers": False}
        with self.peer_errors_explained():
            return DistributedDataParallel(model, gradient_as_bucket_view=True, **buffers)

    def gradients_kept(self, replica: object) -> AbstractContextManager[object]:
        """Inside, gradients of a replica are added up in each process, and averaged only by the next backward pass."""
        return replica.no_sync() if isinstance(replica, DistributedDataParallel) else nullcontext()

    def loss_weight(self, images: int) -> float | None:
        """Factor of the summed loss of a shard of a batch of `images`; None where the loss is a plain mean.

        Gradients are averaged over processes, which may have different numbers of images.
        """
        return None if self.size == 1 else self.size / images

    def sync_batch(self, images: int) -> AbstractContextManager[object]:
        """Inside, batch norm and dropout treat the shard as a part of a batch of `images`."""
        return nullcontext() if self.size == 1 else SyncBatch(self.shard, images)

    def reduce(self, loss: Tensor, correct: Tensor) -> tuple[Tensor, Tensor]:
        """The mean of the losses and the sum of the correct predictions over all processes."""
        if self.size == 1:
            return loss, correct
        sums = self.all_reduce(torch.stack((loss / self.size, correct.to(loss.dtype))))
        return sums[0], sums[1].to(correct.dtype)

    def all_reduce(self, numbers: Tensor) -> Tensor:
        """The sum over all processes."""
        if self.size > 1:
            numbers = numbers.clone()
            dist.all_reduce(numbers)
        return numbers

    def stop_request(self, stop: Callable[[], bool]) -> "StopRequest":
        """A request on which all processes stop after the same step, once `stop` is true in one of them."""
        self._stop_requests.append(StopRequest(stop, single=self.size == 1))
        return self._stop_requests[-1]

    @contextmanager
    def peer_errors_explained(self) -> Iterator[None]:
        """Turn the RuntimeError that follows the end of another process into a DeviceError that names its cause."""
        try:
            yield
        except RuntimeError as error:
            if self.size == 1 or is_out_of_memory(error):
                raise
            failure = self._failure()
            if failure is None and not isinstance(error, dist.DistError) and "gloo" not in str(error):
                raise
            raise _peer_ended(failure) from error

    def record_failure(self, message: str, exit_code: int) -> Failure:
        """Tell the other processes about an error; returns the first error recorded in the group, maybe this one."""
        own = Failure(self.shard.rank, exit_code, message)
        try:
            return _parse(self._store.compare_set(_FAILURE, "", json.dumps(astuple(own))))
        except dist.DistError:  # the store ended with its torchrun
            return own

    def mark_printed(self) -> None:
        """Tell the other processes that the error has been printed."""
        with suppress(dist.DistError):
            self._store.set(_PRINTED, "")

    def wait_until_printed(self) -> None:
        """Give the process that prints the error time for it: torchrun ends all processes once one has ended."""
        deadline = time.monotonic() + self._timeout
        with suppress(dist.DistError):
            while not self._store.check([_PRINTED]) and time.monotonic() < deadline:
                time.sleep(_POLL)

    def _failure(self) -> Failure | None:
        with suppress(dist.DistError):
            if self._store.check([_FAILURE]):
                return _parse(self._store.get(_FAILURE))
        return None

    def _wait_for(self, *keys: str, timeout: float = inf) -> None:
        """Wait until other processes have set keys. Raises DeviceError if one of them fails meanwhile."""
        deadline = time.monotonic() + timeout
        with self.peer_errors_explained():
            while not self._store.check([*keys]) and time.monotonic() < deadline:
                if (failure := self._failure()) is not None:
                    raise _peer_ended(failure)
                time.sleep(_POLL)


class StopRequest:
    """A request to stop, on which all processes of a group agree.

    Several processes exchange their answers while the next step is computed, so that nothing waits; an answer then
    counts one step later.

    Args:
        stop: whether this process should stop.
        single: whether there is only this process.

    Attributes:
        granted: the answer of the last call.
    """

    def __init__(self, stop: Callable[[], bool], *, single: bool) -> None:
        self._stop = stop
        self._single = single
        self._votes = torch.zeros(1)
        self._pending: dist.Work | None = None
        self.granted = False

    def __call__(self) -> bool:
        """Decide; all processes call this once after every step."""
        if self._single:
            self.granted = self._stop()
            return self.granted
        self.wait()
        self.granted = self.granted or bool(self._votes)
        if not self.granted:
            self._votes = torch.tensor([float(self._stop())])
            self._pending = dist.all_reduce(self._votes, async_op=True)
        return self.granted

    def wait(self) -> None:
        """Wait for the exchange in progress."""
        if self._pending is not None:
            self._pending.wait()
            self._pending = None


ALONE = ProcessGroup()


def _parse(record: bytes) -> Failure:
    return Failure(*json.loads(record))


def _peer_ended(failure: Failure | None) -> DeviceError:
    cause = " without an error message" if failure is None else f": {failure.message}"
    return DeviceError(
        f"another training process ended{cause}",
        remedy="the system may have killed it because memory ran out; resume from the last checkpoint with --resume",
    )
