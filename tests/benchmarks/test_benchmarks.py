"""Every benchmark runs, on the embedded digits, and says what it is to say."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import ours
from benchmarks.__main__ import COMPARED, ONLY_BY_NAME, README, main
from benchmarks.folder import anonymous_memory
from benchmarks.measure import Settings
from benchmarks.networks import NETWORKS
from benchmarks.recipes import reached
from benchmarks.standard import write_digits
from cnncli.data.idx import read_idx
from cnncli.inspection.graph import graph_of
from cnncli.inspection.table import inspect_graph

SLOW = (
    "startup",
    "playground",
    "memory",
    "recipes",
    "standard",
    "tuned",
    "augment",
    "epoch",
    "audit",
    "pictures",
    "live",
)
"""They start processes that import torch, or a browser, or train for seconds."""
MARKS = ((pytest.mark.slow, SLOW), (pytest.mark.browser, ("playground",)))


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[mark for mark, names in MARKS if name in names]) for name in (*COMPARED, *ONLY_BY_NAME)],
)
def test_it_runs(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    threads = torch.get_num_threads()
    page = tmp_path / "README.md"
    page.write_text(f"before\n<!-- {name} -->\nold\n<!-- end of {name} -->\nafter\n", encoding="utf-8")
    results = tmp_path / "results.jsonl"
    words = [name, "--quick", "--threads", "1", "--config", "lenet5", "--results", str(results)]
    main([*words, "--data-dir", str(tmp_path), "--write", "--readme", str(page)])
    torch.set_num_threads(threads)
    (line,) = map(json.loads, results.read_text(encoding="utf-8").splitlines())
    assert line["benchmark"] == name
    assert {"date", "versions", "device", "threads", "settings"} <= line.keys()
    for comparison in line["comparisons"]:
        for numbers in comparison["values"].values():
            assert len(numbers) == 1
            assert numbers[0] >= 0
    text = page.read_text(encoding="utf-8")
    tables = text.removeprefix(f"before\n<!-- {name} -->\n").removesuffix(f"<!-- end of {name} -->\nafter\n")
    assert tables in capsys.readouterr().out
    assert tables.count("|---|---|---|---|") == len(line["comparisons"])


def test_the_list_names_them_all(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--list"])
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [*COMPARED, *ONLY_BY_NAME]


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(SystemExit):
        main(["epohc"])


def test_each_has_its_place_in_the_readme() -> None:
    page = README.read_text(encoding="utf-8")
    for name in COMPARED:
        assert f"\n## {name}\n" in page
        assert page.count(f"<!-- {name} -->\n") == page.count(f"<!-- end of {name} -->\n") == 1


@pytest.mark.parametrize("name", NETWORKS)
def test_both_describe_the_same_network(name: str) -> None:
    config = ours.read(Settings(), name)
    described = inspect_graph(graph_of(config.network, config.name))
    module = NETWORKS[name]()
    assert sum(each.numel() for each in module.parameters()) == described.params
    shapes = [tuple(each.shape) for each in module.parameters()]
    # The same kernels and matrices, in the same order.
    from cnncli.module import seeded_module

    assert [tuple(each.shape) for each in seeded_module(config.network, 0).parameters()] == shapes
    assert module(torch.zeros(2, 1, 28, 28)).shape == (2, 10)


def test_the_result_line_at_the_head_of_a_config() -> None:
    words = reached([99.0, 99.2, 99.1], [5.0, 6.0, 7.0], threads=2)
    assert words == (
        "# Reached: 99.10 % on the test images (mean of 3 seeds, standard deviation 0.10, from 99.00 to 99.20) "
        "after 6.0 s of training, on 2 threads."
    )


def test_digits_as_the_files_of_mnist(tmp_path: Path) -> None:
    raw = write_digits(tmp_path) / "MNIST" / "raw"
    images = read_idx(raw / "train-images-idx3-ubyte", (None, 28, 28))
    assert len(images) == len(read_idx(raw / "train-labels-idx1-ubyte", (None,))) > 1000


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells how much memory is no file's")
def test_memory_of_processes_below_those_that_were_started_counts() -> None:
    """Each holds 64 MiB, one was started by the other."""
    hold = "held = bytearray(b'x') * 2**26; "
    below = f"{hold}print(flush=True); input()"
    words = f"import subprocess, sys; {hold}subprocess.run([sys.executable, '-c', {below!r}])"
    before = anonymous_memory()
    with subprocess.Popen([sys.executable, "-c", words], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with_both = anonymous_memory()
        process.communicate(b"\n")
    assert 2 * 2**26 < with_both - before < 3 * 2**26
