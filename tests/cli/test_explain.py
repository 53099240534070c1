"""`cnncli explain` on the command line: options, files, errors, steps, and a trained network."""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pexpect
import pytest
import torch
from PIL import Image

from cnncli.run import load_run
from tests.forked import on_terminal

Run = Callable[..., tuple[int, str, str]]


def test_own_numbers(run_cnncli: Run) -> None:
    code, out, _ = run_cnncli(
        "explain", "correlation", "--input", "[[1,1,0,0],[1,1,0,0]]", "--kernel", "[[1,-1]]", "--step"
    )
    assert code == 0
    assert "1x1 + 0x(-1) = 1" in out
    assert "floor((4 + 2x0 - 1x(2 - 1) - 1) / 1) + 1 = 3" in out


def test_own_numbers_from_files(run_cnncli: Run, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.arange(9).reshape(3, 3))
    (tmp_path / "k.csv").write_text("0,1\n2,3\n")
    code, out, _ = run_cnncli(
        "explain", "correlation", "--input", str(tmp_path / "x.npy"), "--kernel", str(tmp_path / "k.csv")
    )
    assert code == 0
    assert "0x0 + 1x1 + 3x2 + 4x3 = 19" in out


def test_a_large_image_is_shown_in_shades(run_cnncli: Run, tmp_path: Path) -> None:
    Image.linear_gradient("L").resize((100, 40)).save(tmp_path / "x.png")
    code, out, _ = run_cnncli("explain", "correlation", "--input", str(tmp_path / "x.png"), "--kernel", "[[1],[-1]]")
    assert code == 0
    assert "input, 40x100" in out
    assert "The other 3,894 windows work the same way." in out  # 39 x 100 - 6
    assert "(one pixel in 3 is shown)" in out
    assert max(map(len, out.splitlines())) <= 80


@pytest.mark.parametrize(
    "arguments",
    [
        "correlation --stride 2 --padding 1 --dilation 2",
        "convolution --stride 2 --padding 1",
        "convolution --input [[1,2]] --kernel [[1,2,3]] --padding 0,1",
        "channels --input [[[1,2]],[[3,4]]] --kernel [[[1]],[[10]]]",
        "channels --input [[[1,2,3],[4,5,6]],[[1,2,3],[4,5,6]],[[1,2,3],[4,5,6]]]",
        "kernel quickstart --input [[[1,2]],[[3,4]]] --kernel [[[[1]],[[10]]]]",
        "1x1 --input [[[1,2]],[[3,4]]] --kernel [[1,10]]",
        "1x1 --input [[[1,2]],[[3,4]]] --kernel [[[[1]],[[10]]]]",
        "padding --padding 2,0",
        "stride --stride 2 --padding 0",
        "dilation --padding 1",
        "pooling --window 3 --padding 1",
        "pooling --window 2,1 --input [[[1,2],[3,4]],[[5,6],[7,8]]]",
        "learn-kernel --kernel [[1,0,-1]]",
        "backward --stride 2 --padding 1 --dilation 2",
        "feature-maps --input [[0,0,0],[0,1,0],[0,0,0]]",
        "receptive-field dilated --layer conv3 --at 0,0",
        "receptive-field --set data.size=32",
        "architecture resnet-mnist",
        "all",
    ],
)
def test_variants_fit_80_columns(run_cnncli: Run, arguments: str) -> None:
    code, out, err = run_cnncli("explain", *arguments.split())
    assert code == 0, err
    assert out.isascii()
    assert max(map(len, out.splitlines())) <= 80


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("correlation --input [[1,2],[3]]", "ragged"),
        ("correlation --input [[1,NaN]]", "--input[0][1]: is NaN"),
        ("correlation --input hello", "neither nested lists of numbers"),
        ("correlation --kernel [[1,2,3,4]]", "the window of 1x4 does not fit into the input of 3x3"),
        ("correlation --stride 0", "--stride: '0' is neither an integer of at least 1"),
        ("correlation --padding -1", "--padding: '-1' is neither an integer of at least 0"),
        ("correlation --input [[[1]]]", "has 3 dimensions"),
        ("channels --kernel [[[1]]]", "the input has 2 channels, but each kernel has 1 slices"),
        ("1x1 --kernel [[1,2]]", "the input has 3 channels, but each kernel has 2 weights"),
        ("1x1 --kernel [[[[1,2]],[[1,2]],[[1,2]]]]", "1 x 2 is not 1x1"),
        ("pooling --padding 2", "2x2 is more than half of the window 2x2"),
        ("pooling --window 9", "the window of 9x9 does not fit"),
        ("feature-maps --image 9999", "there are 359 digits"),
        ("feature-maps --image my.png", "is not the number of a digit"),
        ("feature-maps --layer conv1", "names a layer of a trained network"),
        ("feature-maps --image 3 --invert yes", "is for an image file shown to a trained network"),
        ("receptive-field --at 99,0", "--at: avg_pool2 has 5x5 units"),
        ("receptive-field --layer conv9", "there is no layer conv9. Did you mean conv"),
        ("correlation --step --target sobel", "No such option"),
        ("corelation", "Did you mean 'correlation'"),
        ("learn-kernel --target circle", "circle"),
    ],
)
def test_usage_errors_have_exit_code_2(run_cnncli: Run, arguments: str, message: str) -> None:
    code, out, err = run_cnncli("explain", *arguments.split())
    assert code == 2, err
    assert message in " ".join(err.split())
    assert not out
    assert "Traceback" not in err


def test_an_image_of_100_megapixels(run_cnncli: Run, tmp_path: Path) -> None:
    Image.new("1", (10_000, 10_000)).save(tmp_path / "huge.png")
    for arguments in (["correlation", "--input"], ["learn-kernel", "--kernel"], ["feature-maps", "--input"]):
        code, _, err = run_cnncli("explain", *arguments, str(tmp_path / "huge.png"))
        assert code == 2
        assert "has more than 89,478,485 pixels" in err


def test_steps_wait_for_enter_on_a_terminal() -> None:
    child = on_terminal("explain", "receptive-field", "--step")
    for step in ("conv1", "avg_pool1", "conv2", "avg_pool2"):
        child.expect(r"\[Enter\]")
        assert f": {step}, unit" not in child.before
        child.sendline()
        child.expect(f": {step}, unit")
    child.expect("Drawn on the input")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0


def test_steps_go_back_and_quit() -> None:
    """After going back, the step before is printed again, and Enter shows the same step as before."""
    child = on_terminal("explain", "receptive-field", "--step")

    def press(key: str, expected: str) -> None:
        child.expect_exact("[Enter] next, b back, q quit")
        child.send(key)
        child.expect(f": {expected}, unit")

    for step in ("conv1", "avg_pool1", "conv2"):
        press("\r", step)
    press("b", "conv1")
    child.expect(": avg_pool1, unit")
    press("x\r", "conv2")
    assert "avg_pool1, unit" not in child.before
    press("\r", "avg_pool2")
    child.expect(pexpect.EOF)
    child.close()

    child = on_terminal("explain", "receptive-field", "--step")
    press("\r", "conv1")
    child.expect_exact("[Enter] next, b back, q quit")
    child.send("q")
    child.expect(pexpect.EOF)
    assert "avg_pool1, unit" not in child.before
    child.close()
    assert child.exitstatus == 0


@pytest.fixture(scope="module")
def run_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network with normalization, padding and stride, trained for an epoch on the embedded digits."""
    from cnncli.cli.app import main

    folder = tmp_path_factory.mktemp("run")
    config = folder / "small.yaml"
    config.write_text(
        "data: {name: digits, size: 12}\n"
        "model:\n"
        "  layers:\n"
        "    - conv: {out_channels: 4, kernel_size: 3, padding: same, stride: 2, norm: batch, activation: relu}\n"
        "    - max_pool: 2\n"
        "    - conv: {out_channels: 4, kernel_size: 3, padding: same, groups: 2, activation: tanh}\n"
        "    - flatten\n"
        "    - logits\n"
        "train: {epochs: 1, batch_size: 128}\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["cnncli", "train", str(config), "--out", str(folder), "--quiet"])
        with pytest.raises(SystemExit) as end:
            main()
    assert not end.value.code
    (run,) = folder.glob("small-*")
    return run


@pytest.mark.parametrize(("layer", "filter_", "at"), [("conv1", 3, "0,5"), ("conv2", 2, "2,1"), ("logits1", 7, None)])
def test_a_unit_of_a_trained_network(
    run_cnncli: Run, run_directory: Path, layer: str, filter_: int, at: str | None
) -> None:
    """The last number printed is the one that the network computes for the same image."""
    where = [] if at is None else ["--at", at]
    code, out, err = run_cnncli(
        "explain", "unit", str(run_directory), "--layer", layer, "--filter", str(filter_), *where, "--image", "12"
    )
    assert code == 0, err
    opened = load_run(run_directory, data_dir=Path("data"))
    with torch.no_grad():
        maps = opened.model.outputs(opened.input_image("12").image[None], [layer])[layer][0]
    index = (filter_, *(int(each) for each in at.split(","))) if at else (filter_,)
    table = out[out.index("by hand") :].split("\n\n")[0].splitlines()
    by_hand, network = table[-1].split()[-2:]
    decimals = len(network.partition(".")[2])
    assert by_hand == network
    assert float(network) == float(f"{maps[index].item():.{decimals}f}")


def test_the_strongest_path_ends_at_a_pixel(run_cnncli: Run, run_directory: Path) -> None:
    code, out, err = run_cnncli(
        "explain", "unit", str(run_directory), "--layer", "logits1", "--filter", "3", "--image", "5", "--why"
    )
    assert code == 0, err
    assert "logits1, unit 3:" in out
    assert "The path ends" in out


def test_an_image_file(run_cnncli: Run, run_directory: Path, tmp_path: Path) -> None:
    Image.linear_gradient("L").convert("RGB").save(tmp_path / "mine.png")
    arguments = ("--layer", "conv1", "--filter", "0", "--at", "0,0", "--image", str(tmp_path / "mine.png"))
    code, out, err = run_cnncli("explain", "unit", str(run_directory), *arguments)
    assert code == 0, err
    assert "mine.png" in out
    assert "resized from 256x256" in err
    for topic in (["feature-maps", "--run"], ["unit"]):
        options = ("--layer", "conv1", *(("--at", "0,0") if topic == ["unit"] else ()), "--image")
        Image.new("L", (12, 12), 250).save(tmp_path / "paper.png")
        code, out, err = run_cnncli("explain", *topic, str(run_directory), *options, str(tmp_path / "paper.png"))
        assert code == 0
        assert "paper.png: inverted" in err
        assert "--invert" not in out
        code, out, err = run_cnncli(
            "explain", *topic, str(run_directory), *options, str(tmp_path / "paper.png"), "--invert", "no"
        )
        assert code == 0
        assert "inverted" not in err
        assert "paper.png --invert no" in " ".join(out.replace("\\", "").split())
    Image.new("1", (10_000, 10_000)).save(tmp_path / "mine.png")
    code, _, err = run_cnncli("explain", "unit", str(run_directory), *arguments)
    assert code == 4
    assert "pixels" in err


def test_learned_maps_of_a_run(run_cnncli: Run, run_directory: Path) -> None:
    code, out, err = run_cnncli(
        "explain", "feature-maps", "--run", str(run_directory), "--layer", "conv2", "--image", "2"
    )
    assert code == 0, err
    assert "vertical edges" in out
    assert "What conv2 has learned" in out
    assert out.count("\nfilter ") == 4


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--layer", "conv9", "--filter", "0", "--at", "0,0"], 2),
        (["--layer", "conv1", "--filter", "4", "--at", "0,0"], 2),
        (["--layer", "conv1", "--filter", "0", "--at", "6,0"], 2),
        (["--layer", "conv1", "--filter", "0", "--at", "a"], 2),
        (["--layer", "conv1", "--filter", "0", "--at", "0,0", "--image", "359"], 2),
        (["--layer", "conv1", "--filter", "0", "--at", "0,0", "--image", "none.png"], 4),
        (["--layer", "conv1", "--filter", "0", "--at", "0,0", "--image", "3", "--invert", "yes"], 2),
    ],
)
def test_units_that_do_not_exist(run_cnncli: Run, run_directory: Path, arguments: list[str], code: int) -> None:
    ended, out, err = run_cnncli("explain", "unit", str(run_directory), *arguments)
    assert (ended, out) == (code, ""), err


def test_a_run_that_does_not_exist(run_cnncli: Run, tmp_path: Path) -> None:
    code, _, err = run_cnncli("explain", "unit", str(tmp_path / "none"), "--layer", "conv1")
    assert code == 5
    assert "does not exist" in err
