"""Shell completion, asked as shells ask: through environment variables, and once in a real bash."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pexpect
import pytest

from cnncli.config.config import named_configs
from cnncli.config.datasets import STANDARD_DATA
from cnncli.inspection.hints import HINTS
from cnncli.views import VIEWS

Cnncli = Callable[..., tuple[int, str, str]]
Complete = Callable[[str], list[str]]

DATA_SETS = STANDARD_DATA
BUNDLED = list(named_configs())
LAYERS = ["conv1", "avg_pool1", "conv2", "avg_pool2", "flatten1", "linear1", "linear2", "logits1"]


@pytest.fixture
def complete(run_cnncli: Cnncli, monkeypatch: pytest.MonkeyPatch) -> Complete:
    """What bash is offered for the last word of a line; a line that ends with a space has an empty last word."""

    def run(line: str) -> list[str]:
        words = line.split(" ")
        monkeypatch.setenv("_CNNCLI_COMPLETE", "complete_bash")
        monkeypatch.setenv("COMP_WORDS", line)
        monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
        _, out, err = run_cnncli()
        monkeypatch.delenv("_CNNCLI_COMPLETE")
        assert err == "", "it would appear in the shell"
        return out.split()

    return run


@pytest.fixture
def runs(trained: Path, folder: Path) -> list[str]:
    """Two runs in the folder `runs`, which also contains other things."""
    for name in ("lenet5-1", "nin-2"):
        (folder / "runs" / name).mkdir(parents=True)
        for file in ("config.yaml", "resolved.yaml", "status.json"):
            shutil.copy(trained / file, folder / "runs" / name)
    (folder / "runs" / "no-run").mkdir()
    (folder / "runs" / "notes.txt").write_text("")
    return ["runs/lenet5-1", "runs/nin-2"]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("cnncli tr", ["train"]),
        ("cnncli sho", ["show"]),
        ("cnncli -", ["--version", "-V", "--install-completion", "--show-completion", "-h", "--help"]),
        ("cnncli train ", [*BUNDLED, "tiny.yaml"]),
        ("cnncli train le", ["lenet5", "lenet5-fashion"]),
        ("cnncli train lenet5 --pro", ["--profile"]),
        ("cnncli train --device ", ["auto", "cpu", "cuda", "mps"]),
        ("cnncli validate lenet5 t", ["tiny.yaml"]),
        ("cnncli validate ./t", []),
        ("cnncli validate nowhere/", []),
        ("cnncli diff lenet5 ni", ["nin"]),
        ("cnncli inspect lenet5 --ignore ", list(HINTS)),
        ("cnncli inspect lenet5 --ignore w", ["whole-input"]),
        ("cnncli unit lenet5 ", LAYERS),
        ("cnncli pixel lenet5 1,1 --layer conv", ["conv1", "conv2"]),
        ("cnncli pixel tiny.yaml 1,1 --layer c", ["conv1", "conv2"]),
        ("cnncli explain receptive-field lenet5 --layer l", ["linear1", "linear2", "logits1"]),
        ("cnncli explain kern", ["kernel"]),
        ("cnncli eval runs/a --data c", ["cifar10", "cifar100"]),
        ("cnncli audit ", [*DATA_SETS, *BUNDLED, "tiny.yaml"]),
        ("cnncli help tr", ["train"]),
        ("cnncli help show conf", ["confusion"]),
        ("cnncli show ", ["all", *(view.name for view in VIEWS)]),
        ("cnncli unit nowhere.yaml ", []),
        ("cnncli show nosuch word ", []),
    ],
)
def test_bash(line: str, expected: list[str], complete: Complete) -> None:
    assert sorted(complete(line)) == sorted(expected)


@pytest.mark.parametrize("command", ["show kernels", "show", "train --resume", "report", "inspect", "diff lenet5"])
def test_runs(command: str, runs: list[str], complete: Complete) -> None:
    assert complete(f"cnncli {command} runs/") == runs
    assert complete(f"cnncli {command} runs/n") == ["runs/nin-2"]


def test_runs_elsewhere(runs: list[str], complete: Complete, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("runs").rename("experiments")
    assert complete("cnncli report experiments/") == [each.replace("runs", "experiments") for each in runs]
    assert complete("cnncli report ") == []
    monkeypatch.setenv("CNNCLI_OUT", "experiments")
    assert complete("cnncli report ") == [each.replace("runs", "experiments") for each in runs]


@pytest.mark.parametrize("option", ["show kernels {} --layer", "show feature-maps {} 0 --layer", "unit {}"])
def test_layers_of_a_run(option: str, runs: list[str], complete: Complete) -> None:
    assert complete(f"cnncli {option.format(runs[0])} c") == ["conv1", "conv2"]


def test_a_name_that_needs_quotes_is_left_to_the_shell(complete: Complete) -> None:
    Path("my net.yaml").write_text("")
    Path("mine\x1b[31m.yaml").write_text("")
    Path("mine[1].yaml").write_text("")
    assert complete("cnncli train m") == [*(each for each in BUNDLED if each.startswith("m")), "mine[1].yaml"]
    assert complete("cnncli train mine[1]") == ["mine[1].yaml"]


@pytest.mark.parametrize(
    ("shell", "expected"),
    [
        ("zsh", '_arguments \'*: :(("lenet5-fashion"\n"lenet5"))\'\n'),
        ("fish", "lenet5-fashion\nlenet5\n"),
    ],
)
def test_other_shells(shell: str, expected: str, run_cnncli: Cnncli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_CNNCLI_COMPLETE", f"complete_{shell}")
    monkeypatch.setenv("_TYPER_COMPLETE_ARGS", "cnncli train le")
    monkeypatch.setenv("_TYPER_COMPLETE_FISH_ACTION", "get-args")
    _, out, err = run_cnncli()
    assert err == ""
    assert out == expected


def test_it_imports_no_torch(environment: dict[str, str], runs: list[str]) -> None:
    loaded = "import atexit, sys; atexit.register(lambda: print('torch' in sys.modules))"
    asked = {
        "_CNNCLI_COMPLETE": "complete_bash",
        "COMP_WORDS": f"cnncli show kernels {runs[0]} --layer conv2",
        "COMP_CWORD": "5",
    }
    done = subprocess.run(
        [sys.executable, "-c", f"{loaded}; from cnncli.cli.app import main; main()"],
        env=environment | asked,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.split() == ["conv2", "False"]


def test_the_script_is_for_the_program(environment: dict[str, str]) -> None:
    command = f"{sys.executable} -m cnncli --show-completion; true"  # without `true` bash would become the program
    done = subprocess.run(["bash", "-c", command], env=environment, capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    assert done.stdout.endswith("complete -o default -F _cnncli_completion cnncli\n")


@pytest.mark.slow
def test_a_real_bash(environment: dict[str, str], folder: Path) -> None:
    program = folder / "bin" / "cnncli"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m cnncli "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    path = f"{program.parent}:{environment['PATH']}"
    script = subprocess.run(
        [program], env=environment | {"_CNNCLI_COMPLETE": "source_bash"}, capture_output=True, text=True, check=True
    ).stdout
    (folder / "completion.sh").write_text(script, encoding="utf-8")
    bash = pexpect.spawn(
        "bash", ["--norc", "--noprofile"], env=environment | {"PATH": path, "PS1": "> "}, encoding="utf-8", timeout=60
    )
    bash.sendline("source completion.sh; bind 'set enable-bracketed-paste off'; echo read''y")
    bash.expect("ready")
    bash.send("cnncli valid\t")
    bash.expect("validate ")
    bash.send("ti\t")
    bash.expect("tiny.yaml ")
    bash.send("--se\t")
    bash.expect("--set ")
    bash.send("data.size=16\r")
    bash.expect("tiny.yaml: ok, 7 layers")
    bash.sendline("exit")
    bash.expect(pexpect.EOF)
    bash.close()
