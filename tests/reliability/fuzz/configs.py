"""Configs: an almost-valid grammar, changes of the bundled ones, `--set` and targets."""

import functools
import random
from typing import Any, get_args, get_origin

import yaml

from cnncli.config.config import bundled_configs
from cnncli.config.log import LogSpec
from cnncli.config.train import OPTIMIZERS, SCHEDULES, TrainSpec
from cnncli.fields import Spec
from cnncli.layers import LAYER_CHOICES
from tests.reliability.fuzz.case import Case, chance
from tests.reliability.fuzz.mutation import TEXTS, mutate_data, mutate_text, routes, value

ODD = 0.03
"""How often a value in the grammar is any value."""
ENDS = ("flatten", "linear", "logits", "global_avg_pool", "global_max_pool")
"""Layers after which there is no image any more."""
DATASETS = (*("digits", "digits", "mnist", "fashion-mnist", "cifar10", "kmnist") * 5, "emnist", "image-folder", "x")
READERS = ("validate", "validate", "validate", "inspect", "inspect", "unit", "pixel", "diff")


def grammar(r: random.Random) -> dict[str, Any]:
    """A config in which most things are as they should be."""
    blocks = {f"b{i}": {"params": {"x": r.choice(("required", 4))}, "layers": layers(r, 2, "$x")} for i in range(2)}
    model: dict[str, Any] = {"layers": [*layers(r, 0), "flatten", "logits"]}
    if chance(r, 0.3):
        model["blocks"] = blocks
        model["layers"].insert(0, r.choice(({"b0": 4}, {"b1": {"x": 3}}, "b0", {"b0": {"x": 8, "name": "n"}})))
    if chance(r, 0.3):
        model["defaults"] = {"conv": {"kernel_size": 3, "padding": "same"}, r.choice((*LAYER_CHOICES,)): {}}
    config: dict[str, Any] = {"data": data(r), "model": model}
    if chance(r, 0.5):
        config["train"] = section(r, TrainSpec) | {
            "optimizer": r.choice((*OPTIMIZERS, {"sgd": section(r, OPTIMIZERS["sgd"])})),
            "schedule": r.choice((*SCHEDULES, {"one_cycle": {}})),
        }
    if chance(r, 0.3):
        config["log"] = section(r, LogSpec)
    if chance(r, 0.3):
        config |= {"version": 1, "name": odd(r, "x")}
    return config


def data(r: random.Random) -> dict[str, Any]:
    fields: dict[str, Any] = {"name": r.choice(DATASETS)}
    for name, choices in {
        "size": (8, 28, [8, 8], [28, 1], 224, 4096, 8192, 1),
        "channels": (1, 3),
        "validation": (0, 0.1, 10, 0.99),
        "split": ("letters", "mnist"),
        "path": ("images", "/", ".."),
        "classes": (2, 10, ["a", "b"], 100_000),
        "augment": ({"shift": 2}, {"rotate": 10, "elastic": 3}, {"flip": "both"}),
        "normalize": (False, True),
    }.items():
        suits = name in ("size", "channels", "validation", "augment", "normalize")
        if chance(r, 0.25 if suits else 0.02):
            fields[name] = odd(r, r.choice(choices))
    return fields


def layers(r: random.Random, depth: int, size: Any = None) -> list[Any]:
    """A list of layers, with structures up to a depth."""
    return [layer(r, depth, size) for _ in range(r.choice((1, 1, 2, 3, 5)))]


def layer(r: random.Random, depth: int, size: Any = None) -> Any:
    if chance(r, ODD / 2):
        return value(r)
    if chance(r, 0.1):
        earlier = odd(r, r.choice(("input", "conv1", "conv2", "residual1", "branch1", "b01", "logits1", "a")))
        merge = odd(r, r.choice(("concat", "add", "multiply", "max", "mean")))
        return r.choice(({"skip": {"from": earlier, "merge": merge}}, {"reuse": earlier}))
    if depth < 3 and chance(r, 0.2):
        inner = layers(r, depth + 1, size)
        return r.choice((
            {"repeat": {"times": odd(r, r.choice((1, 2, 30, 3000))), "layers": inner}},
            {"residual": inner},
            {"residual": {"main": inner, "shortcut": r.choice(("auto", "identity", layers(r, depth + 1, size)))}},
            {"branch": {"merge": r.choice(("concat", "add")), "paths": [inner, layers(r, depth + 1, size)]}},
        ))  # fmt: skip
    if chance(r, 0.5):
        kernel = r.choice((1, 2, 3, 3, 5, [1, 3], 31))
        conv = {"out_channels": odd(r, size or r.choice((1, 4, 8, 16, 512))), "kernel_size": odd(r, kernel)}
        extra = {
            "stride": (1, 2, [2, 1], 8192),
            "padding": ("same", 1, [0, 1], "valid", 4096),
            "dilation": (1, 2, 512),
            "groups": (1, 2, 4),
            "norm": ("batch", "group", {"group": 2}, "layer"),
            "activation": ("relu", "prelu", {"leaky_relu": 0.1}),
            "bias": (True, False),
            "name": ("a", "b", "conv1", "forward"),
        }
        conv |= {name: odd(r, r.choice(choices)) for name, choices in extra.items() if chance(r, 0.3)}
        return {r.choice(("conv", "conv", "conv", "conv_transpose")): conv}
    name = r.choice((*LAYER_CHOICES,) if chance(r, 0.1) else [each for each in LAYER_CHOICES if each not in ENDS])
    kind = LAYER_CHOICES[name]
    if chance(r, 0.4):
        return {name: odd(r, r.choice((1, 2, 3)))} if kind.principal else name
    return {name: section(r, kind)}


def section(r: random.Random, model: type[Spec]) -> dict[str, Any]:
    """Some fields of a section, with values that suit their types."""
    fields = {}
    for name, field in model.model_fields.items():
        if name != "type" and (field.is_required() or chance(r, 0.3)):
            fields[name] = odd(r, _suiting(r, field.annotation))
    return fields


def _suiting(r: random.Random, annotation: Any) -> Any:
    """A value of a type, as far as its annotation says it."""
    members = get_args(annotation)
    if get_origin(annotation) is not None and members:
        member = r.choice(members)
        return member if isinstance(member, str | int) else _suiting(r, member)
    suiting = {int: (1, 2, 3, 8), float: (0.5, 0.1, 1e-3), bool: (True, False), str: ("a",), type(None): (None,)}
    return r.choice(suiting.get(annotation, (1, 2, 3, "same", [1, 2], {})))


def odd(r: random.Random, usual: Any) -> Any:
    """The usual value, or sometimes any."""
    return value(r) if chance(r, ODD) else usual


@functools.cache
def _bundled() -> dict[str, str]:
    return {name: path.read_text(encoding="utf-8") for name, path in bundled_configs().items()}


def _dumped(config: Any) -> bytes:
    return yaml.safe_dump(config, sort_keys=False, allow_unicode=True).encode(errors="surrogatepass")


def _arguments(r: random.Random, target: str) -> tuple[str, ...]:
    """A command that reads a config."""
    command = r.choice(READERS)
    extra: tuple[str, ...] = ()
    match command:
        case "unit":
            extra = (
                r.choice(("conv1", "logits1", "conv2", "x")),
                r.choice(("0,0", "1,1", "99999,1", "x", "-1,0", "1")),
            )
        case "pixel":
            extra = (r.choice(("0,0", "3,4", "99999,0", "x", "1,2,3", "")),)
        case "diff":
            extra = (r.choice(("lenet5", "quickstart", target)),)
        case "inspect":
            extra = r.choice(
                ((), ("--wide",), ("--json",), ("--format", "csv"), ("--batch", "1000000000"), ("--strict",))
            )
    return (command, target, *extra)


def grammar_case(r: random.Random) -> Case:
    """A config of the grammar."""
    return Case("grammar of configs", _arguments(r, "c.yaml"), {"c.yaml": _dumped(grammar(r))})


def bundled_case(r: random.Random) -> Case:
    """A bundled config, changed as data or as text."""
    text = _bundled()[r.choice(sorted(_bundled()))]
    if chance(r, 0.5):
        config = yaml.safe_load(text)
        for _ in range(r.choice((1, 1, 2, 3))):
            config = mutate_data(r, config)
        content = _dumped(config)
    else:
        content = mutate_text(r, text)
    return Case("changed configs", _arguments(r, "c.yaml"), {"c.yaml": content})


def override_case(r: random.Random) -> Case:
    """`--set` of fields that exist, almost exist, or do not."""
    name = r.choice(sorted(_bundled()))
    known = [".".join(map(str, route)) for route in routes(yaml.safe_load(_bundled()[name])) if route]
    words: list[str] = []
    for _ in range(r.choice((1, 1, 2, 3))):
        path = r.choice(known)
        if chance(r, 0.08):
            path = mutate_text(r, path).decode(errors="replace")
        if chance(r, 0.08):
            path += "." + r.choice((*TEXTS[:20], "0", "99", "-1"))
        given = value(r) if chance(r, 0.5) else r.choice((1, 2, 3, 8, 0.1, "relu", "same", [3, 3]))
        text = given if isinstance(given, str) else yaml.safe_dump(given, default_flow_style=True).removesuffix("...\n")
        words += ["--set", _word(f"{path}{r.choice((*'=' * 20, '==', ''))}{text.strip()}")]
    command = r.choice(("validate", "inspect"))
    return Case("--set", (command, name, *words), {})


def target_case(r: random.Random) -> Case:
    """Targets and their options: names, paths, models in code, shapes, arguments."""
    name = r.choice(
        (*_bundled(), "c.yaml", "nets.py:Net", "nets.py:bad", "nets.py:", "torchvision:", "json:dumps", "c.onnx")
    )
    if chance(r, 0.3):
        name = _word(mutate_text(r, name).decode(errors="replace"))
    shapes = (
        "28",
        "1x28x28",
        "3x8192x8192",
        "1x1x1",
        "0x1x1",
        "1x28",
        "3x10000000x1",
        "1x2x3x4x5",
        "x",
        "-1",
        "1" * 30,
    )
    options = {
        "--input": shapes,
        "--kwargs": (
            "{}",
            "[]",
            "{",
            '{"width": 3}',
            '{"width": 1e999}',
            "[" * 2000,
            "1" * 5000,
            "null",
            '{"width": -1}',
        ),
        "--batch": ("1", "0", "-1", "99999999999999999999", "x", "1e3"),
        "--format": ("json", "csv", "markdown", "table", "x"),
        "--ignore": ("critical", "x", ""),
        "--data-dir": ("/", ".", "/dev/null", "a" * 300, "c.yaml"),
    }
    words = [word for option, values in options.items() if chance(r, 0.35) for word in (option, r.choice(values))]
    code = b"import torch\nclass Net(torch.nn.Module):\n    def __init__(self, width=2):\n        super().__init__()\n"
    code += (
        b"        self.c = torch.nn.Conv2d(1, width, 3)\n    def forward(self, x):\n        return self.c(x)\nbad = 3\n"
    )
    if chance(r, 0.2):
        code = code.replace(b"width, 3", b"width, 99999") if chance(r, 0.5) else code[: r.randrange(len(code))]
    files: dict[str, bytes | None] = {
        "nets.py": code,
        "c.yaml": mutate_text(r, _bundled()["quickstart"]),
        "c.onnx": b"x",
    }
    return Case("targets and options", ("inspect", name, *words), files)


def _word(text: str) -> str:
    """A text as an argument, which the system passes as bytes without zeros."""
    return text.replace("\x00", "").encode(errors="surrogateescape" if text.isprintable() else "replace").decode(
        errors="surrogateescape"
    )  # fmt: skip
