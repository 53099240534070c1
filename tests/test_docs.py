"""The documentation is true: its commands run, its configs are read, and its tables match the program.

How a page is written for this:

- `sh` blocks hold one command per line. In `console` blocks, lines that begin with `$ ` are commands, followed by
  their output, where `...` stands for the rest of a line and, alone, for any number of lines. Runs of blanks and the
  numbers that a training prints are not compared.
- The commands of a page run in order, in one folder that has the bundled `configs/`, a run called `RUN` and a drawing
  `seven.jpg`, ink on paper. Trainings use the embedded digits and few epochs. `torchrun` and the processes that it
  starts are forked. Commands of other programs, and those that need several machines or a
  download, are listed in `NOT_RUN`.
- `yaml` blocks are configs; missing sections are added. A block that begins with `# name.yaml` is a file for the
  commands after it, which may be a broken one.
- In code spans, options (`--set`), fields (`train.epochs`) and modules (`cnncli.config`) must exist.
- Under a heading of `docs/config.md` that is in `FIELDS`, the table lists all fields of the model, the default as it
  would be written in YAML, and a * at the principal field.
- `python` blocks are type-checked by mypy.
"""

import importlib
import json
import os
import re
import shlex
import shutil
import signal
import sys
import tomllib
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from fnmatch import fnmatch
from functools import partial
from io import BytesIO, StringIO, TextIOWrapper
from pathlib import Path
from textwrap import dedent
from typing import Annotated, Any, get_args

import pytest
import torch.distributed.run
import typer
from PIL import Image, ImageDraw
from pydantic import BaseModel, create_model
from tensorboard.backend.event_processing.event_accumulator import (  # type: ignore[import-untyped]  # no stubs
    EventAccumulator,
)
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

import cnncli
from cnncli import errors
from cnncli.cli.app import LazyCommand, app, main
from cnncli.config.augment import (
    AugmentSpec,
    BlurSpec,
    CropSpec,
    CutoutSpec,
    ElasticSpec,
    EraseSpec,
    MixSpec,
    RandAugmentSpec,
)
from cnncli.config.config import ConfigFields, read_config
from cnncli.config.data import ColumnsSpec, DataSpec, NormalizeSpec
from cnncli.config.datasets import EMNIST_SPLITS, DatasetName, known_dataset
from cnncli.config.document import parse_document
from cnncli.config.init_from import InitFrom
from cnncli.config.log import LogSpec, ProbesSpec
from cnncli.config.loss import Focal
from cnncli.config.model import (
    BlockFields,
    BranchFields,
    ModelFields,
    RepeatFields,
    ResidualFields,
    ReuseFields,
    SkipFields,
)
from cnncli.config.train import OPTIMIZERS, SCHEDULES, EarlyStopping, TrainSpec
from cnncli.fields import Choice, Spec
from cnncli.layers import LAYER_CHOICES
from cnncli.layers.init import INITS
from cnncli.layers.tuning import InheritedFields, TrainedFields
from cnncli.signals import FROM_TERMINAL, SIGPIPE
from cnncli.tensorboard.server import links
from cnncli.training.records import State

CHECKOUT = Path(__file__).resolve().parents[1]
PAGES = [
    *(CHECKOUT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "benchmarks/README.md")),
    *sorted(path for path in (CHECKOUT / "docs").glob("*.md") if not path.name.startswith("lesson")),
]
RUN = "lenet5-20260131-120000"

FIRST = "pip install -e . && cnncli train configs/quickstart.yaml"
SECOND = 'pip install -e ".[dev]" && pytest'
PAIR = "pip install --force-reinstall torch torchvision"
CPU_INDEX = "--index-url https://download.pytorch.org/whl/cpu"
NOT_RUN = {
    FIRST,
    SECOND,
    "make check",
    "tensorboard --logdir runs",
    "cnncli tensorboard",
    PAIR,
    f"{PAIR} {CPU_INDEX}",
    f"pip install torch torchvision {CPU_INDEX}",
    "cnncli train resnet18 --set data.path=pets --set data.classes=37 --set train.init_from=resnet18.pth "
    "--set train.optimizer.sgd.lr=1e-2 --set train.epochs=20",  # tests/test_classics.py has it with random weights
    *(
        f"torchrun --nnodes 2 --node-rank {number} --nproc-per-node 4 --master-addr 10.0.0.1 --master-port 29500 "
        "-m cnncli train lenet5"
        for number in (0, 1)
    ),
}
OTHER_OPTIONS = {
    "--dist",
    "--help",
    "--logdir",
    "--standalone",
    "--nnodes",
    "--node-rank",
    "--nproc-per-node",
    "--master-addr",
}
"""Options that the pages mention of TensorBoard and torchrun."""
IN_FULL = "cnncli train configs/quickstart.yaml"

FIELDS: dict[str, type[BaseModel]] = {
    "The file": ConfigFields,
    "data": DataSpec,
    "columns": ColumnsSpec,
    "normalize": NormalizeSpec,
    "augment": AugmentSpec,
    "elastic": ElasticSpec,
    "erase": EraseSpec,
    "crop": CropSpec,
    "rand_augment": RandAugmentSpec,
    "blur": BlurSpec,
    "cutout": CutoutSpec,
    "mixup": MixSpec,
    "cutmix": MixSpec,
    "model": ModelFields,
    "repeat": RepeatFields,
    "residual": ResidualFields,
    "branch": BranchFields,
    "skip": SkipFields,
    "reuse": ReuseFields,
    "blocks": BlockFields,
    "train": TrainSpec,
    "early_stopping": EarlyStopping,
    "init_from": InitFrom,
    "focal": Focal,
    "log": LogSpec,
    "probes": ProbesSpec,
    "Trained and frozen weights": InheritedFields,
    **{name: each for name, each in INITS.items() if len(each.model_fields) > 1},
    "constant` initial weights": INITS["constant"],  # there is a schedule of this name
    # `augment` has a `crop`, too
    **{"crop` layer" if name == "crop" else name: each for name, each in LAYER_CHOICES.items()},
    **OPTIMIZERS,
    **SCHEDULES,
}


def page_named(path: Path) -> str:
    return path.relative_to(CHECKOUT).as_posix()


def text_of(name: str) -> str:
    return (CHECKOUT / name).read_text(encoding="utf-8")


every_page = pytest.mark.parametrize("page", PAGES, ids=page_named)


# Reading a page

BLOCK = re.compile(r"^( *)```(\w+)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
YAML_FILE = re.compile(r"# (\S+\.yaml)\n")


def blocks(page: Path) -> list[tuple[str, str]]:
    """Language and content of every fenced block."""
    found = BLOCK.findall(page.read_text(encoding="utf-8"))
    return [(language, dedent(content)) for _, language, content in found]


def prose(page: Path) -> str:
    return BLOCK.sub("", page.read_text(encoding="utf-8"))


def code_spans(page: Path) -> list[str]:
    return re.findall(r"`([^`]+)`", prose(page))


def headings(text: str) -> list[str]:
    return re.findall(r"^#+ (.+)$", text, re.MULTILINE)


def section(text: str, heading: str) -> str:
    """The text between a heading and the next one, of any level."""
    found = re.search(rf"^#+ `?{re.escape(heading)}`?\n(.*?)(?=^#|\Z)", text, re.MULTILINE | re.DOTALL)
    return found[1] if found else ""


def table(text: str, first_column: str) -> list[list[str]]:
    """The cells of the first table whose first column has that title, without the header row."""
    lines = iter(text.splitlines())
    for line in lines:
        if line.startswith(f"| {first_column} |"):
            next(lines)
            rows = []
            for row in lines:
                if not row.startswith("|"):
                    break
                rows.append([cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]])
            return rows
    return []


def coded(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


# Commands


def run_cnncli(arguments: list[str]) -> tuple[int, str]:
    """Exit code, and stdout and stderr as a terminal shows them together."""
    written = StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(written), redirect_stderr(written):
        patch.setattr(sys, "argv", ["cnncli", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
    code = ended.value.code
    assert code is None or isinstance(code, int), code
    return code or 0, written.getvalue()


def run_torchrun(arguments: list[str]) -> tuple[int, str]:
    """The same of `torchrun ... -m cnncli ...`, whose processes are forked."""
    from tests.forked import Forked, exit_code_of, run_program  # not on Windows

    begin = arguments.index("cnncli") + 1
    options, words = arguments[:begin], shortened(arguments[begin:])

    def train() -> None:
        code = exit_code_of(partial(run_program, *words))
        if code:
            os._exit(code)

    def launch(config: LaunchConfig, entrypoint: object) -> Callable[..., object]:
        return lambda *_: elastic_launch(replace(config, start_method="fork"), train)()

    def torchrun() -> None:
        pytest.MonkeyPatch().setattr(torch.distributed.run, "elastic_launch", launch)
        torch.distributed.run.main([*options, *words])

    with Forked(torchrun) as process:
        out, err = process.communicate(timeout=120)
        return process.wait(), out + err


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete run of one epoch with every kind of tag, all its pictures and an export, for reading only."""
    out = tmp_path_factory.mktemp("docs")
    settings = [
        *("data.name=digits", "data.validation=0.9", "train.epochs=1", "model.defaults.conv.activation=relu"),
        *("log.images=2", "log.probes={classes: 1, images: [3]}"),
    ]
    sets = [word for setting in settings for word in ("--set", setting)]
    code, output = run_cnncli(["train", "lenet5", "--out", str(out), "--threads", "1", *sets])
    assert code == 0, output
    (path,) = out.iterdir()
    for kind in ([], ["saliency", "0"]):
        code, output = run_cnncli(["show", *kind[:1], str(path), *kind[1:]])
        assert code == 0, output
    code, output = run_cnncli(["export", str(path), "--format", "safetensors"])
    assert code == 0, output
    code, output = run_cnncli(["eval", str(path), "--robustness", "--images", "10"])
    assert code == 0, output
    return path.rename(path.with_name(RUN))


def shortened(arguments: list[str]) -> list[str]:
    """Arguments that make a training short; a resumed run gets one more epoch."""
    if arguments[0] == "audit":
        return [*arguments, "--epochs", "1"]
    if arguments[0] == "sweep":
        if "--trials" in arguments:
            arguments = [*arguments, "--trials", "2"]
    elif arguments[0] != "train":
        return arguments
    settings = ["log.images=0", "data.name=digits"]
    if "--resume" in arguments:
        metrics = Path(arguments[arguments.index("--resume") + 1], "metrics.jsonl")
        settings.append(f"train.epochs={1 + len(metrics.read_text().splitlines())}")
    else:
        settings += ["train.epochs=1", "data.validation=0.9"]
    return [*arguments, "--threads", "1", *(word for each in settings for word in ("--set", each))]


def execute(command: str, patch: pytest.MonkeyPatch) -> tuple[int, str]:
    """Run a line of documentation like a shell that supports only `export`, `>`, `|` and cnncli."""
    if " | " in command:
        first, second = command.split(" | ")
        code, output = execute(first, patch)
        assert code == 0, output
        with pytest.MonkeyPatch.context() as piped:
            piped.setattr(sys, "stdin", TextIOWrapper(BytesIO(output.encode())))
            return execute(second, patch)
    program, *arguments = shlex.split(command)
    if program == "export":
        patch.setenv(*arguments[0].split("=", 1))
        return 0, ""
    if program == "torchrun":
        return run_torchrun(arguments)
    assert program == "cnncli", f"{command}: list it in NOT_RUN if it is right"
    *arguments, target = arguments if ">" in arguments else [*arguments, ""]
    arguments = [word for word in arguments if word != ">"]
    if command != IN_FULL:
        arguments = shortened(arguments)
    code, output = run_cnncli(arguments)
    if target:
        Path(target).write_text(output, encoding="utf-8")
        output = ""
    return code, output


def commands(language: str, content: str) -> Iterator[tuple[str, str | None]]:
    """Each command of a block with the output that the page shows; None where it shows none."""
    if language == "sh":
        yield from ((line, None) for line in content.splitlines())
    elif language == "console":
        assert content.startswith("$ "), content
        for part in re.split(r"^\$ ", content, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            yield command, output


def plain(output: str) -> str:
    """An output without decoration."""
    return re.sub(r" *─+ *", "─", re.sub(r" +", " ", output))


def without_numbers(output: str) -> str:
    """The output of a training without numbers, which depend on the machine."""
    return re.sub(r"\d[\d.,:%e-]*", "#", plain(output))


def matches(shown: str, actual: str) -> bool:
    """Whether an output matches the page, where `...` stands for any text."""
    lines = [line.rstrip() for line in shown.strip().splitlines()]
    pattern = "".join(
        r"(?:.*\n)*?" if line == "..." else re.escape(line).replace(r"\.\.\.", ".*") + r"\n" for line in lines
    )
    text = "".join(f"{line.rstrip()}\n" for line in actual.strip().splitlines())
    return re.fullmatch(pattern, text) is not None


def draw_seven(path: Path) -> None:
    image = Image.new("L", (300, 500), "white")
    ImageDraw.Draw(image).line([(120, 300), (190, 300), (150, 400)], fill="black", width=12)
    image.save(path)


@every_page
def test_commands(page: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(CHECKOUT / "configs", tmp_path / "configs")
    shutil.copytree(run, tmp_path / "runs" / RUN)
    draw_seven(tmp_path / "seven.jpg")
    monkeypatch.chdir(tmp_path)
    for language, content in blocks(page):
        if language == "yaml" and (file := YAML_FILE.match(content)):
            Path(file[1]).write_text(content, encoding="utf-8")
        for command, shown in commands(language, content):
            if command in NOT_RUN or (command.startswith("torchrun ") and not hasattr(os, "fork")):
                continue
            code, output = execute(command, monkeypatch)
            wrong = shown is not None and re.search(r"^error:", shown, re.MULTILINE)
            assert (code != 0) == bool(wrong), f"$ {command}\n{output}"
            if shown is not None:
                compared = without_numbers if re.search(" train | sweep ", command) else plain
                assert matches(compared(shown), compared(output)), f"$ {command}\n{output}"


def test_commands_that_are_not_run_are_all_there() -> None:
    shown = {command for page in PAGES for block in blocks(page) for command, _ in commands(*block)}
    assert shown >= NOT_RUN


def test_the_readme_opens_with_the_two_commands() -> None:
    assert text_of("README.md").startswith(f"# cnncli\n\n```sh\n{FIRST}\n{SECOND}\n```\n")


def test_the_ways_out_of_an_unmatched_pair_are_those_of_the_error() -> None:
    source = text_of("cnncli/data/download.py")
    assert f'  {PAIR}"' in source
    assert f'  {PAIR} {CPU_INDEX}"' in source


# Configs, options, links


@every_page
def test_yaml_blocks_are_configs(page: Path, tmp_path: Path) -> None:
    sections = {"data": "{name: digits, size: 28}", "model": "{layers: [flatten, logits]}"}
    for language, content in blocks(page):
        if language != "yaml" or YAML_FILE.match(content):
            continue
        given = parse_document(content, name=page.name).data
        added = [f"{key}: {value}\n" for key, value in sections.items() if key not in given]
        config = tmp_path / "block.yaml"
        config.write_text("".join([content, *added]), encoding="utf-8")
        read_config(str(config), data_dir=tmp_path)


def is_field(path: str) -> bool:
    """Whether `--set path=...` would find a field, in a config that has most of them."""
    try:
        read_config("lenet5", data_dir=Path("nowhere"), assignments=[f"{path}=null"])
    except errors.CnncliError as error:
        return not re.search("unknown field|has no fields|not a position", error.message)
    return True


def test_an_unknown_field_is_detected() -> None:
    assert is_field("train.epochs")
    assert is_field("model.layers.0.conv.out_channels")
    assert not is_field("train.epoch")
    assert not is_field("model.layers.0.conv.out_channel")


@every_page
def test_fields_in_code_spans_exist(page: Path) -> None:
    paths = {
        found
        for span in code_spans(page)
        for found in re.findall(r"(?<![\w./-])(?:data|model|train|log)\.[a-z][\w.]*\w", span)
    }
    assert [path for path in sorted(paths) if not is_field(path)] == []


def commands_of(command: object) -> list[Any]:
    """The commands of a program, and theirs."""
    listed = getattr(command, "commands", {}).values()
    inside = [each.load() if isinstance(each, LazyCommand) else each for each in listed]
    return [*inside, *(deeper for each in inside for deeper in commands_of(each))]


@every_page
def test_options_in_code_spans_exist(page: Path) -> None:
    program = typer.main.get_command(app)
    listed = [program, *commands_of(program)]
    known = {
        option
        for command in listed
        for parameter in command.params
        for option in (*parameter.opts, *parameter.secondary_opts)
    }
    named = {found for span in code_spans(page) for found in re.findall(r"(?<![\w-])--[a-z][\w-]*", span)}
    assert named - known - OTHER_OPTIONS == set()


@every_page
def test_modules_in_code_spans_exist(page: Path) -> None:
    for span in code_spans(page):
        if not re.fullmatch(r"cnncli(\.\w+)+", span):
            continue
        module, _, last = span.rpartition(".")
        if not hasattr(importlib.import_module(module), last):
            importlib.import_module(span)


def slug(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@every_page
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)]+)\)", prose(page)):
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        if anchor:
            assert anchor in map(slug, headings(target.read_text(encoding="utf-8"))), link


# docs/config.md


def as_default(model: type[BaseModel], name: str, written: str) -> object:
    """What a field holds where a config says `written` for it."""
    field = model.model_fields[name]
    annotation: Any = Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation
    alone: Any = create_model("Alone", __base__=Spec, value=(annotation, ...))
    return alone.model_validate(parse_document(f"value: {written}", name=name).data).value


@pytest.mark.parametrize("heading", FIELDS)
def test_table_of_fields(heading: str) -> None:
    model = FIELDS[heading]
    rows = table(section(text_of("docs/config.md"), heading), "field")
    is_choice = issubclass(model, Choice)
    structures = (ResidualFields, BranchFields, SkipFields, ReuseFields)
    named_below = {"type", "name"} if is_choice or model in structures else set()
    if issubclass(model, TrainedFields) and model is not InheritedFields:
        named_below |= set(InheritedFields.model_fields)
    fields = {field.alias or name: field for name, field in model.model_fields.items()}
    assert [coded(row[0])[0] for row in rows] == unordered([name for name in fields if name not in named_below], rows)
    for marked, default, _ in rows:
        name = coded(marked)[0]
        assert marked.endswith("*") == (is_choice and getattr(model, "principal", None) == name), name
        if fields[name].is_required():
            assert default == "required", name
        else:
            expected = fields[name].get_default(call_default_factory=True)
            assert as_default(model, name, coded(default)[0]) == expected, name


def unordered(names: list[str], rows: list[list[str]]) -> list[str]:
    """The names in the order of the page where both are the same, so that a difference is easy to read."""
    shown = [coded(row[0])[0] for row in rows]
    return shown if sorted(shown) == sorted(names) else names


def test_every_layer_is_there() -> None:
    page = text_of("docs/config.md")
    listed = [coded(row[0])[0] for title in ("activation", "norm") for row in table(page, title)]
    assert set(LAYER_CHOICES) - {*listed, *(heading.strip("`") for heading in headings(page))} == set()
    fields = {row[0].strip("`"): coded(row[2]) for row in table(page, "activation")}
    common = {"type", "name", *InheritedFields.model_fields}
    own = {word: [name for name in LAYER_CHOICES[word].model_fields if name not in common] for word in fields}
    assert fields == own


def test_every_init_is_there() -> None:
    rows = {coded(row[0])[0]: coded(row[2]) for row in table(text_of("docs/config.md"), "init")}
    assert rows == {name: [each for each in init.model_fields if each != "type"] for name, init in INITS.items()}


def test_table_of_data_sets() -> None:
    rows = {coded(row[0])[0]: row[1:] for row in table(text_of("docs/config.md"), "data set")}
    assert list(rows) == list(get_args(DatasetName))
    for name in ("digits", "mnist", "fashion-mnist", "kmnist", "cifar10"):
        facts = known_dataset(name)
        assert facts.counts is not None
        shape, train, test, classes, folder = rows[name]
        assert shape == " x ".join(map(str, facts.native))
        assert (train, test) == tuple(f"{count:,}" for count in facts.counts)
        assert classes == str(len(facts.classes))
        assert coded(folder) == ([facts.folder] if facts.folder else [])


def test_table_of_emnist_splits() -> None:
    rows = {coded(row[0])[0]: row[1:] for row in table(text_of("docs/config.md"), "split of `emnist`")}
    assert list(rows) == list(EMNIST_SPLITS)
    for split in EMNIST_SPLITS:
        facts = known_dataset("emnist", split)
        counts = ["differs between releases"] * 2 if facts.counts is None else [f"{each:,}" for each in facts.counts]
        assert rows[split] == [*counts, str(len(facts.classes))]


# docs/architecture.md


def test_the_table_of_packages_matches_the_import_contracts() -> None:
    rows = [coded(row[0]) for row in table(text_of("docs/architecture.md"), "package")]
    contract = tomllib.loads(text_of("pyproject.toml"))["tool"]["importlinter"]["contracts"][0]
    assert rows == [layer.split(" | ") for layer in contract["layers"]]
    package = Path(cnncli.__file__).parent
    modules = {path.stem for path in package.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert {name for row in rows for name in row} == modules - {"__init__", "__main__"}


# docs/run-directory.md

RUN_PAGE = "docs/run-directory.md"


def test_files_of_a_run(run: Path) -> None:
    """A folder of the table stands for all that lies in it."""
    patterns = [coded(row[0])[0] for row in table(text_of(RUN_PAGE), "file")]
    files = [path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file()]
    found = {
        file: [each for each in patterns if fnmatch(file, f"{each}*" if each.endswith("/") else each)] for file in files
    }
    assert {file: each for file, each in found.items() if len(each) != 1} == {}
    assert set(patterns) == {each for matched in found.values() for each in matched}
    parts = [coded(row[0])[0] for row in table(section(text_of(RUN_PAGE), "Checkpoints"), "file")]
    assert sorted(parts) == sorted(path.name for path in (run / "checkpoints" / "best").iterdir())


@pytest.mark.parametrize(
    ("file", "may_be_absent"), [("metrics.jsonl", set()), ("results.json", set()), ("metadata.json", {"resumed"})]
)
def test_keys_of_json(file: str, may_be_absent: set[str], run: Path) -> None:
    _, _, described = section(text_of(RUN_PAGE), "JSON").partition(f"`{file}`")
    keys = {coded(row[0])[0] for row in table(described, "key")}
    found = json.loads((run / file).read_text(encoding="utf-8")).keys()
    assert found <= keys
    assert keys - found == may_be_absent


def test_keys_of_a_manifest(run: Path) -> None:
    (row,) = (row for row in table(section(text_of(RUN_PAGE), "Checkpoints"), "file") if "manifest" in row[0])
    found = json.loads((run / "checkpoints" / "best" / "manifest.json").read_text(encoding="utf-8"))
    assert set(coded(row[1])) == found.keys()


def test_states() -> None:
    assert [coded(row[0])[0] for row in table(text_of(RUN_PAGE), "state")] == list(get_args(State))


def test_tags(run: Path) -> None:
    found = set()
    for folder in (run, run / "show"):
        tags = EventAccumulator(str(folder)).Reload().Tags()
        found |= {tag for kind in ("scalars", "images", "histograms") for tag in tags[kind]}
        found |= {*tags["tensors"]} - {"custom_scalars__config__"}
    placeholders = {
        "<layer>": r"\d\d_[\w.]+",
        "<class>": r"[\w.-]+",
        "<image>": r"[\w.-]+",
        "<parameter>": r"[\w.]+",
        "<number>": r"(?:\d+|[a-z0-9_]+)",
    }
    patterns = [pattern for row in table(text_of(RUN_PAGE), "tag") for pattern in coded(row[0])]
    regexes = {pattern: re.sub("<.*?>", lambda each: placeholders[each[0]], pattern) for pattern in patterns}
    assert [tag for tag in sorted(found) if not any(re.fullmatch(regex, tag) for regex in regexes.values())] == []
    unused = [pattern for pattern, regex in regexes.items() if not any(re.fullmatch(regex, tag) for tag in found)]
    assert unused == []


def test_exit_codes() -> None:
    kinds = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, errors.CnncliError)]
    codes = [int(row[0]) for row in table(text_of(RUN_PAGE), "code")]
    stopped = {128 + number for number in (*FROM_TERMINAL, SIGPIPE, signal.SIGTERM)}
    assert codes == sorted({0, *(kind.exit_code for kind in kinds), *stopped})


# docs/tensorboard.md


def test_the_links_that_cnncli_tensorboard_prints() -> None:
    """The command runs until it is stopped; tests/cli/test_tensorboard.py runs it."""
    (shown,) = (
        output
        for block in blocks(CHECKOUT / "docs/tensorboard.md")
        for command, output in commands(*block)
        if command == "cnncli tensorboard"
    )
    assert shown is not None
    *lines, last = shown.splitlines()
    printed = dict(re.split("  +", line) for line in lines)
    address = "http://localhost:6006/"
    assert printed == {"everything": address, **links(address)}
    assert last == "Ctrl-C stops TensorBoard"


# README.md, CHANGELOG.md


def test_the_readme_lists_all_commands() -> None:
    listed = [coded(row[0])[0] for row in table(text_of("README.md"), "command")]
    commands = typer.main.get_command(app)
    assert sorted(listed) == sorted(f"cnncli {name}" for name in getattr(commands, "commands", {}))


def test_the_changelog_has_this_version() -> None:
    newest = re.search(r"^## \[(.+?)\]", text_of("CHANGELOG.md"), re.MULTILINE)
    assert newest is not None
    assert newest[1] == cnncli.__version__
