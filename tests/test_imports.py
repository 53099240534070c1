"""What each command and package imports: describing a network must not load torch, and a training must start early.

import-linter checks which package may import which; its contracts are in pyproject.toml.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import cnncli

PACKAGE = Path(cnncli.__file__).parent
HEAVY = {"torch", "torchvision", "tensorboard"}

IMPORT_ALL = """
import importlib, pkgutil, sys
package = importlib.import_module(sys.argv[1])
for module in pkgutil.walk_packages(getattr(package, "__path__", []), package.__name__ + "."):
    importlib.import_module(module.name)
print("loaded:", *sys.modules)
"""

RUN_COMMAND = """
import atexit, sys
atexit.register(lambda: print("loaded:", *sys.modules))
from cnncli.cli.app import main
main()
"""


RUN_TO_THE_FIRST_STEP = f"""
import sys
from cnncli.training.progress import Progress
Progress.write = lambda *_: sys.exit(0)  # it is called after every step
{RUN_COMMAND}
"""


def loaded_modules(program: str, *arguments: str) -> set[str]:
    """The names in `sys.modules` of a new Python process after a program, which must succeed."""
    command = [sys.executable, "-W", "ignore", "-c", program, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    loaded = done.stdout.splitlines()[-1].split()
    assert loaded[0] == "loaded:"
    return {*loaded[1:]}


def loaded_packages(program: str, *arguments: str) -> set[str]:
    """The top-level packages among `loaded_modules`."""
    return {name.partition(".")[0] for name in loaded_modules(program, *arguments)}


@pytest.mark.parametrize(
    "package", ["errors", "files", "windows", "fields", "config", "inspection", "library", "cli.app"]
)
def test_describing_a_network_does_not_import_torch(package: str) -> None:
    loaded = loaded_packages(IMPORT_ALL, f"cnncli.{package}")
    assert "cnncli" in loaded
    assert not loaded & HEAVY


@pytest.mark.parametrize(
    "command",
    [
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
    ],
)
def test_commands_about_configs_do_not_import_torch(command: str) -> None:
    loaded = loaded_packages(RUN_COMMAND, *command.split())
    assert "cnncli" in loaded
    assert not loaded & HEAVY


def test_an_import_of_torch_is_noticed() -> None:
    assert loaded_packages(IMPORT_ALL, "cnncli.module") & HEAVY == {"torch"}


def test_the_first_training_step_imports_only_what_it_needs(tmp_path: Path) -> None:
    """TensorBoard's packages and Pillow are needed after it; importing any of the others takes about a second."""
    loaded = loaded_modules(RUN_TO_THE_FIRST_STEP, "train", "quickstart", "--quiet", "--out", str(tmp_path))
    assert "cnncli.training.step" in loaded
    assert not loaded & {"tensorboard", "google.protobuf", "PIL", "torchvision", "torch._dynamo", "sympy"}


def test_training_imports_neither_the_compiler_of_torch_nor_torchvision(tmp_path: Path) -> None:
    """torch's optimizers would import it when created, stepped or saved: a second, and 150 MB of memory."""
    words = ("train", "quickstart", "--quiet", "--out", str(tmp_path), "--set", "train.epochs=1")
    loaded = loaded_modules(RUN_COMMAND, *words)
    assert {"cnncli.training.step", "tensorboard", "PIL"} <= loaded
    assert not loaded & {"torch._dynamo", "sympy", "torchvision"}


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
