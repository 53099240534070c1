"""The profile of a training run: the time of its parts, and a trace of some of its steps.

The trace is that of `torch.profiler` in Chrome's format, compressed; https://ui.perfetto.dev opens it.
"""

import gzip
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import torch

from cnncli.files import disk_errors_explained, replace_file

TRACED_STEPS = 20
_SKIPPED_STEPS = 5
"""The first steps, in which kernels are selected and memory is allocated."""
_TRACING = "tracing"

Span = Callable[[str], AbstractContextManager[None]]
"""Opens a context whose time belongs to the named part of the training."""


def unmeasured(part: str) -> AbstractContextManager[None]:
    """The span without a profile."""
    return nullcontext()


@dataclass(frozen=True)
class Part:
    """The time of a part of the training.

    Attributes:
        name: such as `forward` or `validation`; `other` is the time outside all spans.
        seconds: on the clock of this process, which does not wait for a GPU.
        times: how often it began; 0 for `other`.
    """

    name: str
    seconds: float
    times: int


@dataclass(frozen=True)
class Operator:
    """A torch operator in the traced steps.

    Attributes:
        name: such as `aten::mkldnn_convolution`.
        calls: per step.
        seconds: per step, without the operators it calls; on the GPU if there is one.
    """

    name: str
    calls: float
    seconds: float


class Profile:
    """Measures one training without changing its results.

    Args:
        path: of the trace.
        device: where the training computes.
    """

    def __init__(self, path: Path, device: torch.device) -> None:
        self.path = path
        self.operators: tuple[Operator, ...] = ()
        self.traced_steps = 0
        self._device = device
        self._steps = 0
        self._began = perf_counter()
        self._seconds: dict[str, float] = {}
        self._times: dict[str, int] = {}
        self._tracer: torch.profiler.profile | None = None

    @contextmanager
    def span(self, part: str) -> Iterator[None]:
        """Measure a part of the training; spans are not nested."""
        began = perf_counter()
        with nullcontext() if self._tracer is None else torch.profiler.record_function(part):
            yield
        self._seconds[part] = self._seconds.get(part, 0.0) + perf_counter() - began
        self._times[part] = self._times.get(part, 0) + 1

    def step(self) -> None:
        """Count a step. The trace begins after the first few steps and ends `TRACED_STEPS` later."""
        self._steps += 1
        if self._tracer is not None:
            self._tracer.step()
            self.traced_steps += 1
            if self.traced_steps == TRACED_STEPS:
                with self.span(_TRACING):
                    self._write()
        elif self._steps == _SKIPPED_STEPS and not self.traced_steps:
            with self.span(_TRACING):
                self._start()

    def close(self) -> None:
        """Write a trace that has fewer steps because the training ended. Raises DiskError."""
        if self._tracer is not None:
            with self.span(_TRACING):
                self._write()

    def parts(self) -> list[Part]:
        """The parts so far, longest first, and `other`."""
        parts = [Part(name, seconds, self._times[name]) for name, seconds in self._seconds.items()]
        other = perf_counter() - self._began - sum(part.seconds for part in parts)
        return [*sorted(parts, key=lambda part: -part.seconds), Part("other", other, 0)]

    def _start(self) -> None:
        # Otherwise Kineto, torch's tracer, prints on stderr that there is no GPU.
        os.environ.setdefault("KINETO_LOG_LEVEL", "99")
        activities = [torch.profiler.ProfilerActivity.CPU]
        if self._device.type == "cuda":
            activities.append(torch.profiler.ProfilerActivity.CUDA)
        self._tracer = torch.profiler.profile(activities=activities)
        self._tracer.start()

    def _write(self) -> None:
        tracer, self._tracer = self._tracer, None
        assert tracer is not None
        tracer.stop()
        if not self.traced_steps:
            return
        self.operators = _operators(tracer, self.traced_steps, self._device)
        with disk_errors_explained(self.path), tempfile.TemporaryDirectory(dir=self.path.parent) as folder:
            trace = Path(folder) / "trace.json"
            tracer.export_chrome_trace(str(trace))
            replace_file(self.path, gzip.compress(trace.read_bytes()))


def _operators(tracer: torch.profiler.profile, steps: int, device: torch.device) -> tuple[Operator, ...]:
    """The operators, longest first."""
    operators = []
    for event in tracer.key_averages():
        if event.is_user_annotation:
            continue
        microseconds = event.self_device_time_total if device.type == "cuda" else event.self_cpu_time_total
        operators.append(Operator(event.key, event.count / steps, microseconds / 1e6 / steps))
    return tuple(sorted(operators, key=lambda operator: -operator.seconds))
