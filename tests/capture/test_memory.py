"""Memory of modules against torch: tensors saved for the backward pass, and tensors alive during inference."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812  the name that everyone gives it
import torchvision
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from cnncli.capture.graph import graph_of_module
from cnncli.inspection.memory import Memory, memory_of

BATCH, SIZE = 2, 64
MODELS = ["alexnet", "resnet18", "resnet50", "squeezenet1_1", "densenet121", "mobilenet_v2", "shufflenet_v2_x0_5"]


class Alive(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch does not annotate it
    """Adds up, after every operator, the bytes of all live tensors except weights."""

    def __init__(self, weights: set[int]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # likewise
        self.weights = weights
        self.storages: dict[int, tuple[Any, int]] = {}
        self.peak = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.storages = {key: each for key, each in self.storages.items() if not each[0].expired()}
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves((args, result)):
            if isinstance(tensor, Tensor) and tensor.untyped_storage().data_ptr() not in self.weights:
                storage = tensor.untyped_storage()
                self.storages[storage._cdata] = (
                    StorageWeakRef(storage),  # type: ignore[no-untyped-call]  # likewise
                    storage.nbytes(),
                )
        self.peak = max(self.peak, sum(size for _, size in self.storages.values()))
        return result


def torchvision_model(name: str) -> nn.Module:
    torch.manual_seed(0)
    model: nn.Module = torchvision.models.get_model(name, weights=None)
    return model.eval()


def addresses(model: nn.Module) -> set[int]:
    return {each.untyped_storage().data_ptr() for each in (*model.parameters(), *model.buffers())}


def memory(model: nn.Module) -> Memory:
    return memory_of(graph_of_module(model, (3, SIZE, SIZE), "test"), BATCH)


def saved_for_backward(model: nn.Module) -> int:
    """Bytes of the storages that autograd saves in training, each once."""
    weights, found, kept = addresses(model), dict[int, int](), list[Tensor]()

    def pack(tensor: Tensor) -> Tensor:
        kept.append(tensor)  # so that no address is given twice
        found[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        model.train()(torch.randn(BATCH, 3, SIZE, SIZE))
    return sum(size for address, size in found.items() if address not in weights)


def uncounted(model: nn.Module) -> int:
    """Not counted: statistics of batch norms, and three of the four bytes of a mask on the CPU."""
    statistics = sum(2 * 4 * each.num_features for each in model.modules() if isinstance(each, nn.BatchNorm2d))
    masks = 0

    def add(module: nn.Module, args: Any, output: Tensor) -> None:
        nonlocal masks
        masks += 3 * output.numel()

    hooks = [each.register_forward_hook(add) for each in model.modules() if isinstance(each, nn.Dropout) and each.p]
    with torch.no_grad():
        model.eval()(torch.zeros(BATCH, 3, SIZE, SIZE))
    for hook in hooks:
        hook.remove()
    return statistics + masks


@pytest.mark.parametrize("name", MODELS)
def test_weights_are_parameters_and_buffers(name: str) -> None:
    model = torchvision_model(name)
    assert memory(model).weights == sum(each.nbytes for each in (*model.parameters(), *model.buffers()))


@pytest.mark.parametrize("name", MODELS)
def test_training_memory_is_what_autograd_saves(name: str) -> None:
    model = torchvision_model(name)
    assert memory(model).training == saved_for_backward(model) - uncounted(model)


class Gate(nn.Module):
    """One half of the channels times the other half."""

    def forward(self, maps: Tensor) -> Tensor:
        one, other = maps.chunk(2, 1)
        return one * other


class Attention(nn.Module):
    """Attention over 4 x 4 patches; one convolution computes queries, keys and values."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 16, 16)
        self.three = nn.Conv2d(8, 24, 1)

    def forward(self, images: Tensor) -> Tensor:
        query, key, value = self.three(self.patches(images)).flatten(2).transpose(1, 2).chunk(3, -1)
        return F.scaled_dot_product_attention(query, key, value)


class Scaled(nn.Module):
    """Times a constant, then divided by one: neither saves anything."""

    def forward(self, maps: Tensor) -> Tensor:
        return maps * 2 / 3


def first() -> nn.Module:
    return nn.Conv2d(3, 4, 3)


@pytest.mark.parametrize(
    "module",
    [
        nn.Sequential(first(), nn.ZeroPad2d((3, 0, 2, 1)), nn.Conv2d(4, 2, 2)),
        nn.Sequential(first(), nn.ReflectionPad2d(3), nn.Conv2d(4, 2, 2)),
        nn.Sequential(first(), nn.ReplicationPad2d(3), nn.Conv2d(4, 2, 2)),
        nn.Sequential(first(), nn.CircularPad2d(3), nn.Conv2d(4, 2, 2)),
        nn.Sequential(first(), nn.Conv2d(4, 2, 4, padding="same"), nn.Conv2d(2, 2, 1)),
        nn.Sequential(first(), nn.GLU(1), nn.Conv2d(2, 2, 1)),
        nn.Sequential(first(), Gate(), nn.Conv2d(2, 2, 1)),
        nn.Sequential(first(), Scaled(), nn.Conv2d(4, 2, 1)),
        Attention(),
    ],
)
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")  # it is what is tested
def test_training_memory_of_padding_products_and_attention(module: nn.Module) -> None:
    with sdpa_kernel(SDPBackend.MATH):
        assert memory(module).training == saved_for_backward(module)


def test_weights_have_their_own_number_of_bytes() -> None:
    """A comparison has one byte per number and half precision two, whatever the weights have."""
    module = nn.Sequential(nn.Conv2d(3, 4, 3), Positive(), nn.Conv2d(4, 2, 1).half())
    assert memory(module).weights == 4 * (3 * 4 * 9 + 4) + 2 * (4 * 2 + 2)


class Positive(nn.Module):
    """Where a map is positive."""

    def forward(self, maps: Tensor) -> Tensor:
        return (maps > 0).half()


def test_training_memory_of_an_unknown_operation_is_unknown() -> None:
    module = nn.Sequential(nn.Flatten(2), nn.LSTM(SIZE * SIZE, 2, batch_first=True))
    computed = memory(module)
    assert computed.training is None
    assert computed.weights == sum(each.nbytes for each in module.parameters())


class Sinh(nn.Module):
    """An elementwise function whose gradient is not in the table."""

    def forward(self, maps: Tensor) -> Tensor:
        return maps.sinh()


def test_training_memory_of_an_unknown_function_is_unknown() -> None:
    assert memory(nn.Sequential(first(), Sinh(), nn.Conv2d(4, 2, 1))).training is None


@pytest.mark.parametrize("name", MODELS)
def test_inference_memory_is_the_peak_of_live_tensors(name: str) -> None:
    model = torchvision_model(name)
    with torch.no_grad(), Alive(addresses(model)) as alive:
        model(torch.randn(BATCH, 3, SIZE, SIZE))
    computed = memory(model).inference
    assert computed is not None
    if name == "densenet121":
        # Its forward still has a name for what it has concatenated while it works on what came of it.
        assert 0.95 * alive.peak < computed < alive.peak
    else:
        assert computed == alive.peak
