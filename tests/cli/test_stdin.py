"""A config on standard input, given as `-`."""

import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pexpect
import pytest

from cnncli.config.config import find_config
from tests.forked import on_terminal

Cnncli = Callable[..., tuple[int, str, str]]
Feed = Callable[[str | bytes], None]

LENET5 = find_config("lenet5").read_text(encoding="utf-8")
TINY = Path("tiny.yaml")


@pytest.fixture
def feed(monkeypatch: pytest.MonkeyPatch) -> Feed:
    """Puts text or bytes on the standard input of the program."""

    def put(content: str | bytes) -> None:
        raw = content.encode() if isinstance(content, str) else content
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(raw)))

    return put


def test_inspect_reads_the_same_as_from_a_file(feed: Feed, run_cnncli: Cnncli) -> None:
    feed(LENET5.replace("name: lenet5\n", ""))
    code, out, err = run_cnncli("inspect", "-", "--json")
    assert (code, err) == (0, "")
    found, expected = json.loads(out), json.loads(run_cnncli("inspect", "lenet5", "--json")[1])
    assert found.pop("model") == "stdin"
    assert expected.pop("model") == "lenet5"
    assert found == expected


def test_a_config_with_a_name_keeps_it(feed: Feed, run_cnncli: Cnncli) -> None:
    feed(TINY.read_text(encoding="utf-8"))
    assert json.loads(run_cnncli("inspect", "-", "--json")[1])["model"] == "tiny"


def test_verify_reads_the_config_a_second_time(feed: Feed, run_cnncli: Cnncli) -> None:
    feed("data: {name: digits}\nmodel: {layers: [flatten, logits]}\n")
    code, _, err = run_cnncli("inspect", "-", "--verify")
    assert code == 0
    assert "of all 2 rows" in err


def test_audit_reads_the_data_set_and_the_recipe(feed: Feed, run_cnncli: Cnncli) -> None:
    feed("data: {name: digits}\nmodel: {layers: [flatten, logits]}\ntrain: {optimizer: {adamw: {lr: 1e-9}}}\n")
    code, out, err = run_cnncli("audit", "-", "--config", "-", "--folds", 2, "--epochs", 1, "--threads", 1, "--json")
    assert code == 0, err
    assert json.loads(out)
    assert "2 networks of stdin" in err
    assert "the networks agree with only" in err, "nothing is learned at this learning rate"


def test_validate_names_the_line(feed: Feed, run_cnncli: Cnncli) -> None:
    feed("data: {name: digits}\nmodel: {layers: [flaten, logits]}\n")
    code, out, err = run_cnncli("validate", "-", "tiny.yaml")
    assert code == 3
    assert "<stdin>:2:18 model.layers.0: unknown layer: flaten. Did you mean flatten?" in err
    assert out.startswith("tiny.yaml: ok")


def test_validate_names_a_valid_one_too(feed: Feed, run_cnncli: Cnncli) -> None:
    feed(LENET5)
    assert run_cnncli("validate", "-")[1] == "<stdin>: ok, 8 layers, 61,706 parameters, 416,520 MACs\n"


@pytest.mark.parametrize(
    "arguments", [("unit", "-", "conv2", "2,5", "--json"), ("pixel", "-", "3,3", "--json"), ("diff", "-", "lenet5")]
)
def test_other_commands(arguments: tuple[str, ...], feed: Feed, run_cnncli: Cnncli) -> None:
    feed(LENET5)
    named = ["lenet5" if word == "-" else word for word in arguments]
    code, out, err = run_cnncli(*arguments)
    assert (code, err) == (0, "")
    assert out == run_cnncli(*named)[1]


def test_both_sides_of_a_comparison_cannot_be_stdin(feed: Feed, run_cnncli: Cnncli) -> None:
    feed(LENET5)
    code, out, err = run_cnncli("diff", "-", "-")
    assert (code, out) == (2, "")
    assert "only one" in err


@pytest.mark.parametrize("content", [b"", b"\n \n"])
def test_no_input(content: bytes, feed: Feed, run_cnncli: Cnncli) -> None:
    feed(content)
    code, out, err = run_cnncli("inspect", "-")
    assert (code, out) == (3, "")
    assert "<stdin> is empty" in err


def test_input_that_is_not_text(feed: Feed, run_cnncli: Cnncli) -> None:
    feed(b"data: 1\nname: \xff\xfe\n")
    code, _, err = run_cnncli("validate", "-")
    assert code == 3
    assert "<stdin>:2 is not UTF-8 text" in err


def test_train_stores_the_config(feed: Feed, run_cnncli: Cnncli, folder: Path) -> None:
    """A path in the config is found as if the config were a file here: below the data directory."""
    text = TINY.read_text(encoding="utf-8").replace("name: tiny\n", "").replace("epochs: 3", "epochs: 1")
    feed(text)
    code, out, _ = run_cnncli("train", "-", "--quiet", "--set", "log.images=0")
    assert code == 0
    run = folder / out.strip()
    assert run.name.startswith("stdin-")
    assert (run / "config.yaml").read_text(encoding="utf-8") == text
    assert run_cnncli("diff", run, "tiny.yaml")[0] == 0


def test_several_processes_do_not_share_it(feed: Feed, run_cnncli: Cnncli, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "MASTER_ADDR": "localhost"}.items():
        monkeypatch.setenv(name, value)
    feed(LENET5)
    code, out, err = run_cnncli("train", "-")
    assert (code, out) == (2, "")
    assert "several processes cannot share stdin" in err


def test_on_a_terminal_it_says_what_it_waits_for() -> None:
    child = on_terminal("validate", "-")
    child.expect("reading a config from the terminal; end it with Ctrl-D")
    child.sendline("data: {name: digits}")
    child.sendline("model: {layers: [flatten, logits]}")
    child.sendeof()
    child.expect("<stdin>: ok, 2 layers, 650 parameters")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0


def test_init_writes_a_config_to_stdout(feed: Feed, run_cnncli: Cnncli, folder: Path) -> None:
    before = sorted(folder.iterdir())
    code, out, err = run_cnncli("init", "-")
    assert (code, err) == (0, "")
    assert run_cnncli("init") == (0, out, "")
    assert sorted(folder.iterdir()) == before, "no file is written"
    run_cnncli("init", "named")
    assert Path("named.yaml").read_text(encoding="utf-8") == out
    feed(out)
    assert run_cnncli("validate", "-")[0] == 0


@pytest.mark.parametrize(
    "closed", ["<&- >&- 2>&-", pytest.param("<&-", marks=pytest.mark.slow), pytest.param(">&-", marks=pytest.mark.slow)]
)
def test_closed_streams(closed: str, environment: dict[str, str]) -> None:
    """What would be printed disappears; nothing else changes."""
    command = f"{sys.executable} -m cnncli inspect lenet5 {closed}"
    done = subprocess.run(["sh", "-c", command], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert done.stderr == ""
    assert done.stdout.startswith("lenet5\n" if closed == "<&-" else "")
    assert bool(done.stdout) == (closed == "<&-")
