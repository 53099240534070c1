"""`cnncli` as a library: what it takes, what it returns, and how a table prints."""

import doctest
import html.parser
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

import cnncli
import cnncli.library
from cnncli.config.config import read_config
from cnncli.errors import ConfigError, UsageError

CHECKOUT = Path(cnncli.__file__).parents[1]
SMALL = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.MaxPool2d(2))

EXAMPLES = """
from torch import nn
import cnncli

table = cnncli.inspect("lenet5")
print(table["conv2"].name, table.params, len(table), "conv2" in table)
print(table["conv2"].receptive_field.size, table["conv2"].receptive_field.start)
for row in table:
    print(row.name, row.output_shape, [hint.says for hint in row.hints])
table = cnncli.inspect(nn.Conv2d(1, 8, 3), input_shape=(1, 28, 28), batch=64, ignore=["whole-input"])
run = cnncli.train("quickstart", epochs=3, optimizer={"sgd": {"lr": 0.1}}, overrides={"data.size": 8})
run = cnncli.load_run(run.path, data_dir="data", device="cpu")
for prediction in run.predict(["seven.png"]):
    print(prediction.prediction, prediction.probability, prediction.probabilities[run.classes[0]])
print(run.evaluate().accuracy, run.evaluate("val").loss, run.config.train.epochs, run.model.training)
"""
"""The library as users call it, for a type checker."""


def test_examples_in_docstrings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    results = doctest.testmod(cnncli.library)
    assert results.failed == 0
    assert results.attempted >= 10


def test_the_public_names_are_listed_and_documented() -> None:
    assert dir(cnncli) == sorted(cnncli.__all__)
    for name in set(cnncli.__all__) - {"__version__"}:
        assert getattr(cnncli, name).__doc__
    with pytest.raises(AttributeError, match="has no attribute 'inspct'"):
        cnncli.inspct  # noqa: B018


def test_importing_it_loads_nothing() -> None:
    program = "import sys, cnncli; print(sorted({name.partition('.')[0] for name in sys.modules} & {'torch', 'yaml'}))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
def test_mypy_accepts_the_examples(tmp_path: Path) -> None:
    (tmp_path / "examples.py").write_text(EXAMPLES, encoding="utf-8")
    for page in [*CHECKOUT.glob("*.md"), *CHECKOUT.glob("docs/*.md")]:
        blocks = re.findall(r"^```python\n(?!>>>)(.*?)^```$", page.read_text(encoding="utf-8"), re.M | re.S)
        if blocks:
            (tmp_path / f"{page.stem}.py").write_text("\n".join(blocks), encoding="utf-8")
    files = sorted(map(str, tmp_path.iterdir()))
    assert {"README.py", "CONTRIBUTING.py", "examples.py"} <= {Path(file).name for file in files}
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", *files]
    done = subprocess.run(command, capture_output=True, text=True, cwd=CHECKOUT, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_a_config_by_name_path_and_object_are_the_same(tmp_path: Path) -> None:
    config = read_config("lenet5", data_dir=tmp_path)
    path = tmp_path / "lenet5.yaml"
    path.write_text(config.resolved(), encoding="utf-8")
    tables = [cnncli.inspect(target) for target in ("lenet5", path, config)]
    assert tables[0] == tables[1] == tables[2]


def test_a_run_and_its_directory_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = read_config("lenet5", data_dir=tmp_path)
    (tmp_path / "resolved.yaml").write_text(config.resolved(), encoding="utf-8")

    class Run:
        def __init__(self) -> None:
            self.config = config

    assert cnncli.inspect(tmp_path) == cnncli.inspect(Run())  # type: ignore[arg-type]  # a stand-in without weights


def test_a_module_is_measured_and_left_as_it_was() -> None:
    """8 kernels of 3x3 with a bias: 80; 26 x 26 positions: 48,672 multiply-accumulates; pooled: 3 + 1 = 4 pixels."""
    SMALL.train()
    weights = {name: value.clone() for name, value in SMALL.state_dict().items()}
    table = cnncli.inspect(SMALL, input_shape=(1, 28, 28))
    assert (table.model, table.params, table.macs) == ("Sequential", 80, 48_672)
    last = table.rows[-1]
    assert last.output_shape == (8, 13, 13)
    assert last.receptive_field.size == (4, 4)
    assert SMALL.training
    assert all(torch.equal(value, weights[name]) for name, value in SMALL.state_dict().items())


def test_an_unknown_receptive_field_is_an_error_with_its_reason() -> None:
    class Sampled(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return functional.grid_sample(images, torch.zeros(len(images), 4, 4, 2), align_corners=False)

    row = cnncli.inspect(Sampled(), input_shape=(1, 4, 4)).rows[-1]
    assert row.known_receptive_field is None
    with pytest.raises(UsageError, match="the receptive field of grid_sampler_2d is unknown") as caught:
        row.receptive_field  # noqa: B018
    assert caught.value.remedy == row.unknown


def test_rows_are_found_by_name() -> None:
    table = cnncli.inspect("lenet5")
    assert len(table) == 8
    assert [row.name for row in table] == [row.name for row in table.rows]
    assert table["conv2"] is table.rows[2]
    assert "conv2" in table
    assert "conv3" not in table
    with pytest.raises(KeyError, match=r"no layer conv3\. Did you mean conv"):
        table["conv3"]


def test_str_is_the_table_of_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    from cnncli.cli.render.table import show_hints, show_table

    for name in ("lenet5", "inception"):
        table = cnncli.inspect(name)
        show_table(table)
        show_hints(table)
        printed = capsys.readouterr().out.splitlines()
        assert [line.rstrip() for line in printed] == str(table).splitlines()


def test_repr_is_one_line() -> None:
    table = cnncli.inspect("lenet5")
    assert repr(table) == "<LayerTable lenet5: 8 layers, 61,706 parameters, 416,520 MACs>"


class Cells(html.parser.HTMLParser):
    """The text of the cells of each row, and whether every tag is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.rows: list[list[str]] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data


def test_a_notebook_shows_an_html_table() -> None:
    cells = Cells()
    cells.feed(cnncli.inspect("lenet5")._repr_html_())
    assert cells.open == []
    heading, *rows, total = cells.rows
    assert heading[:2] == ["layer", "type"]
    assert rows[2][:6] == ["conv2", "conv", "5/1/0/1", "16x10x10", "2,416", "240,000"]
    assert total[0] == "total"
    assert {len(row) for row in cells.rows} == {len(heading)}


@pytest.mark.parametrize(
    ("target", "options", "error", "message"),
    [
        (SMALL, {}, UsageError, "the input shape of Sequential is unknown"),
        (SMALL, {"input_shape": (3, 28, 28)}, ConfigError, "does not run on an input of 3x28x28"),
        (SMALL, {"input_shape": (1, 28, 28), "kwargs": {"width": 3}}, UsageError, "kwargs"),
        (3, {}, UsageError, "cannot inspect an object of type int"),
        ("lenet6", {}, ConfigError, "config not found: lenet6. Did you mean lenet5?"),
        ("lenet5", {"ignore": ["critcal"]}, UsageError, "critcal"),
        ("net.onnx", {}, ConfigError, "config not found: net.onnx"),
    ],
)
def test_invalid_arguments(target: object, options: dict[str, object], error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        cnncli.inspect(target, **options)  # type: ignore[arg-type]  # wrong on purpose
    assert message in str(caught.value)
