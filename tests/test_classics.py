"""The bundled configs of full-size networks against torchvision's networks, and against the figures of their papers."""

import re
from functools import cache
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F  # noqa: N812  the name that everyone gives it
import torchvision
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import cnncli
from cnncli.config.config import Config, bundled_configs, classic_configs, named_configs, read_config
from cnncli.experiment.initial_weights import load_by_name
from cnncli.experiment.setup import prepare
from cnncli.inspection.table import LayerTable, Row
from cnncli.module import CnnModule
from cnncli.training.stored_weights import StoredWeights
from tests.data.folders import Folder, pets, write_folder

NOWHERE = Path("no such data directory")
OF_PAPERS = {"resnet20": 3, "resnet32": 5, "resnet56": 9}
"""Networks that torchvision does not have: name -> blocks in a stage."""
OF_TORCHVISION = sorted(classic_configs().keys() - OF_PAPERS.keys())
MINIS = [name for name in bundled_configs() if name.endswith("-mini") or name == "se-resnet"]
"""Small versions of networks of papers, which are trained."""
COMPARED = {"conv": "conv", "logits": "linear"} | {each: each for each in ("linear", "max_pool", "avg_pool", "add")}
"""Types of rows of configs, and of the same rows of torch's networks; the others depend on how a network is written."""

every_classic = pytest.mark.parametrize("name", classic_configs())


def config_of(name: str, *assignments: str) -> Config:
    return read_config(name, data_dir=NOWHERE, assignments=assignments)


@cache
def table_of(name: str) -> LayerTable:
    return cnncli.inspect(name)


def head_of(name: str) -> str:
    """The comment at the head of a config, in one line."""
    head, _, _ = classic_configs()[name].read_text(encoding="utf-8").partition("\nversion:")
    return " ".join(line.removeprefix("#").strip() for line in head.splitlines())


class OptionA(nn.Module):
    """A residual block of ResNet for CIFAR-10, whose shortcut has no weights (He et al., 2015, section 4.2)."""

    def __init__(self, channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out_channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.stride = stride
        self.added = out_channels - channels

    def forward(self, x: Tensor) -> Tensor:
        main: Tensor = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        shortcut = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.added))
        return F.relu(main + shortcut)


def resnet_for_cifar(blocks: int) -> nn.Module:
    """A residual network of 6n + 2 layers, with n blocks in each of three stages."""
    layers: list[nn.Module] = [nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    channels = 16
    for stage in (16, 32, 64):
        for _ in range(blocks):
            layers.append(OptionA(channels, stage, 1 if channels == stage else 2))
            channels = stage
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


def reference(name: str, *, device: str = "meta") -> nn.Module:
    """The network in torch, in evaluation mode, without what only helps its training."""
    with torch.device(device):
        if name in OF_PAPERS:
            return resnet_for_cifar(OF_PAPERS[name]).eval()
        options = {"aux_logits": False, "init_weights": False} if name == "googlenet" else {}
        return torchvision.models.get_model(name, **options).eval()  # type: ignore[no-any-return]


def compared(type: str, row: Row) -> tuple[object, ...]:
    """What must be equal. The parameters of a norm are in the row of the layer before it, or in one of their own."""
    params = row.params if type in ("conv", "linear") else None
    return type, row.output_shape, params, row.macs, row.known_receptive_field


@every_classic
def test_its_rows_and_totals_are_those_of_the_network_in_torch(name: str) -> None:
    ours, module = table_of(name), reference(name)
    theirs = cnncli.inspect(module, input_shape=ours.input_shape)
    rows = [row for row in ours if ".shortcut." not in row.name]  # in torch, option A indexes and pads
    mine = [compared(COMPARED[row.type], row) for row in rows if row.type in COMPARED]
    assert mine == [compared(row.type, row) for row in theirs if row.type in COMPARED.values()]
    assert len(mine) > 10
    with FlopCounterMode(display=False) as counter:
        module(torch.zeros(1, *ours.input_shape, device="meta"))
    assert ours.params == sum(parameter.numel() for parameter in module.parameters())
    assert ours.macs == counter.get_total_flops() // 2


def randomize(module: nn.Module, generator: torch.Generator) -> nn.Module:
    """The module with random weights and statistics that keep the values of deep networks between 0.01 and 100."""
    for name, tensor in module.state_dict().items():
        if tensor.dim() > 1:
            tensor.normal_(std=(2 / tensor[0].numel()) ** 0.5, generator=generator)
        elif tensor.is_floating_point():
            tensor.uniform_(0.5 if name.endswith("var") else -0.1, 1, generator=generator)
    return module


def check_outputs(name: str, *assignments: str) -> None:
    """With the weights of the network in torch, a config computes the same."""
    config = config_of(name, *assignments)
    generator = torch.Generator().manual_seed(0)
    module = randomize(reference(name).to_empty(device="cpu"), generator)
    images = torch.rand((2, *config.network.input_shape), generator=generator)
    with torch.inference_mode():
        expected = module(images)
    weights = module.state_dict()
    stored = StoredWeights(path=Path(name), sha256="", epoch=None, classes=None, tensors=weights, ordered=True)
    model = CnnModule(config.network).eval()
    loaded = load_by_name(model, stored, (), config.classes)
    assert (loaded.new, loaded.unused) == ({}, ())
    with torch.inference_mode():
        found = model(images)
    assert expected.std() > 1e-3
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.parametrize("name", ["resnet20", "mobilenet_v2", "squeezenet1_1"])
def test_it_computes_the_same_as_the_network_in_torch(name: str) -> None:
    check_outputs(name, "data.size=64")


@pytest.mark.slow
@every_classic
def test_it_computes_the_same_at_full_size(name: str) -> None:
    check_outputs(name)


@pytest.mark.parametrize(("name", "millions"), [("resnet20", 0.27), ("resnet32", 0.46), ("resnet56", 0.85)])
def test_residual_networks_for_cifar_have_the_parameters_of_the_paper(name: str, millions: float) -> None:
    """He et al., 2015, table 6; convolutions and linear layers are what they count as layers."""
    table = table_of(name)
    assert round(table.params / 1e6, 2) == millions
    assert sum(row.type in ("conv", "logits") for row in table) == int(name.removeprefix("resnet"))


@pytest.mark.slow
def test_weights_of_torchvision_for_other_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command of docs/finetuning.md, with random weights and small images."""
    monkeypatch.chdir(tmp_path)
    write_folder(tmp_path / "data" / "pets", Folder(files=pets("train", each=5)))
    module = torchvision.models.resnet18()
    torch.save(module.state_dict(), "resnet18.pth")
    settings = ("data.path=pets", "data.classes=2", "train.init_from=resnet18.pth", "data.size=32")
    config = read_config("resnet18", data_dir=Path("data"), assignments=settings)
    experiment = prepare(config, data_dir=Path("data"), device=torch.device("cpu"))
    assert experiment.loaded is not None
    assert experiment.loaded.new.keys() == {"logits1"}
    weights = experiment.training.model.state_dict()
    assert torch.equal(weights["conv1.conv.weight"], module.conv1.weight)
    assert torch.equal(weights["stage4.basic2.residual1.conv2.norm.weight"], module.layer4[1].bn2.weight)
    assert weights["logits1.weight"].shape == (2, 512)


# Descriptions


@every_classic
def test_its_name_is_that_of_its_file(name: str) -> None:
    assert config_of(name).name == name
    assert name not in bundled_configs()


@every_classic
def test_its_head_has_subject_and_source(name: str) -> None:
    subject, _, teaches = head_of(name).partition(" Teaches: ")
    assert re.search(r"\(.+, (19|20)\d\d.*\)", subject)
    assert teaches.endswith(".")


@every_classic
def test_the_readme_has_its_numbers(name: str) -> None:
    text = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    [cells] = [line.split("|")[1:-1] for line in text.splitlines() if line.startswith(f"| `{name}` |")]
    _, paper, params, macs, teaches = map(str.strip, cells)
    table = table_of(name)
    assert (params, macs) == (f"{table.params:,}", f"{table.macs:,}")
    assert paper[-4:] in head_of(name)
    assert teaches


@pytest.mark.parametrize("name", [*classic_configs(), *MINIS])
def test_numbers_in_its_comments(name: str) -> None:
    """Totals; and for each item of the list of layers: `56x56`, `256 maps`, `receptive field: 43 pixels`."""
    config, table = config_of(name), table_of(name)
    lines = named_configs()[name].read_text(encoding="utf-8").splitlines()
    totals = [line for line in lines if " MACs" in line]
    assert len(totals) == (name not in MINIS)
    assert all(f"# {table.params:,} parameters, {table.macs:,} MACs" in line for line in totals)
    items = [line for line in lines[lines.index("  layers:") :] if line.startswith("    - ")]
    routes = {node.name: (*node.place.uses, node.place.route)[0] for node in config.network.nodes}
    last = {route[2]: table[name] for name, route in routes.items()}
    checked = 0
    for number, line in enumerate(items):
        shape, comment = last[number].output_shape or (), line.partition("#")[2]
        if size := re.search(r"(\d+)x(\d+)", comment):
            assert shape[1:] == tuple(map(int, size.groups())), line
        if maps := re.search(r"([\d,]+) maps", comment):
            assert shape[0] == int(maps[1].replace(",", "")), line
        if field := re.search(r"receptive field: (\d+)|\dx\d+, (\d+)", comment):
            assert last[number].receptive_field.size == (int(field[1] or field[2]),) * 2, line
        checked += bool(size or maps or field)
    assert checked >= 2
