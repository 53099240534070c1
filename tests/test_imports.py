"""What each command and package imports: describing a network must not load torch, and a training must start early.

import-linter checks which package may import which; its contracts are in pyproject.toml.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cnncli

PACKAGE = Path(cnncli.__file__).parent
HEAVY = {"torch", "torchvision", "tensorboard"}

IMPORT_ALL = """
import importlib, pkgutil, sys
for name in sys.argv[1:]:
    package = importlib.import_module(name)
    for module in pkgutil.walk_packages(getattr(package, "__path__", []), name + "."):
        importlib.import_module(module.name)
    print("loaded:", *sys.modules)
"""

RUN_COMMAND = """
import atexit, sys
atexit.register(lambda: print("loaded:", *sys.modules))
from cnncli.cli.app import main
main()
"""


RUN_COMMANDS = """
import shlex, sys
from cnncli.cli.app import main
commands = sys.argv[1:]
for command in commands:
    sys.argv = ["cnncli", *shlex.split(command)]
    try:
        main()
    except SystemExit as ended:
        assert not ended.code, command
    print("\\nloaded:", *sys.modules)
"""

RUN_TRAINING = f"""
import sys
from cnncli.training.progress import Progress
real = Progress.write  # it is called after every step
def write_first(*arguments):
    print("loaded:", *sys.modules)
    Progress.write = real
    real(*arguments)
Progress.write = write_first
{RUN_COMMAND}
"""


def all_loaded(program: str, *arguments: str) -> list[set[str]]:
    """The names in `sys.modules` of a new Python process, each time that the program prints them; it must succeed."""
    command = [sys.executable, "-W", "ignore", "-c", program, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return [{*line.split()[1:]} for line in done.stdout.splitlines() if line.startswith("loaded: ")]


def packages_of(modules: set[str]) -> set[str]:
    """The top-level packages."""
    return {name.partition(".")[0] for name in modules}


def first_with_heavy_imports(program: str, names: list[str]) -> str | None:
    """The first of the packages or commands after which one of `HEAVY` is loaded, if there is one."""
    loaded = all_loaded(program, *names)
    assert len(loaded) == len(names)
    assert all("cnncli" in modules for modules in loaded)
    return next((name for name, modules in zip(names, loaded, strict=True) if packages_of(modules) & HEAVY), None)


def test_describing_a_network_does_not_import_torch() -> None:
    names = ("errors", "files", "windows", "fields", "config", "inspection", "library", "cli.app")
    assert first_with_heavy_imports(IMPORT_ALL, [f"cnncli.{name}" for name in names]) is None


def test_commands_about_configs_do_not_import_torch() -> None:
    commands = [
        "--help",
        "train --help",
        "sweep --help",
        "schema",
        "validate quickstart",
        "inspect quickstart",
        "explain --help",
        "explain correlation --help",
        "explain unit --help",
        "explain receptive-field",
        "explain architecture",
        "show --help",
        "runs --help",
        "runs list .",
        "runs prune .",
        "show feature-maps --help",
        "export --help",
        "predict --help",
    ]
    assert first_with_heavy_imports(RUN_COMMANDS, commands) is None


def test_a_heavy_import_is_noticed() -> None:
    """Of TensorBoard, which is imported faster than torch."""
    names = ["cnncli.config", "tensorboard.version", "cnncli.files"]
    assert first_with_heavy_imports(IMPORT_ALL, names) == "tensorboard.version"


def test_training_imports_only_what_it_needs(tmp_path: Path) -> None:
    """Neither the compiler of torch, which its optimizers would import when created, stepped or saved, nor torchvision.

    TensorBoard's packages and Pillow are needed after the first step. Importing any of them takes about a second, and
    the compiler 150 MB of memory.
    """
    settings = ("train.epochs=1", "data.validation=0.9")
    sets = [word for each in settings for word in ("--set", each)]
    first, last = all_loaded(RUN_TRAINING, "train", "quickstart", "--quiet", "--out", str(tmp_path), *sets)
    assert "cnncli.training.step" in first
    assert not first & {"tensorboard", "google.protobuf", "PIL"}
    assert {"cnncli.training.step", "tensorboard", "PIL"} <= last
    assert not last & {"torch._dynamo", "sympy", "torchvision"}


def modules() -> Iterator[tuple[Path, ast.Module]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        yield path.relative_to(PACKAGE.parent), ast.parse(path.read_text(encoding="utf-8"))


def imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_one_module_imports_torchs_tensorboard() -> None:
    """import-linter sees only `torch`."""
    users = {path for path, tree in modules() if any("torch.utils.tensorboard" in name for name in imported(tree))}
    assert users == {Path("cnncli/tensorboard/event_file.py")}
