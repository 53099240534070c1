"""Every broken config in tests/cases/configs raises the message in the text file beside it.

Each message names the file, the line, the path and the problem, and, if a word is misspelled, a similar one.
"""

import re
from pathlib import Path

import pytest

from cnncli.config.config import read_config
from cnncli.errors import ConfigError

CASES = Path(__file__).parents[1] / "cases" / "configs"
NAMES = sorted(path.stem for path in CASES.glob("*.yaml"))


def test_there_are_enough_of_them() -> None:
    assert len(NAMES) >= 30


@pytest.mark.parametrize("name", NAMES)
def test_message(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(CASES)
    with pytest.raises(ConfigError) as caught:
        read_config(f"{name}.yaml", data_dir=tmp_path)
    assert caught.value.message + "\n" == (CASES / f"{name}.txt").read_text(encoding="utf-8")


def test_problems_of_overrides_name_the_option(tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("data: {name: digits}\nmodel: {layers: [flatten, logits]}\n", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        read_config(str(config), data_dir=tmp_path, assignments=["train.epoch=3", "model.layers.0=flaten"])
    assert "--set train.epoch=3: train.epoch: unknown field. Did you mean epochs?" in caught.value.message
    assert "--set model.layers.0=flaten: model.layers.0: unknown layer: flaten. Did you mean flatten?" in (
        caught.value.message
    )


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("lenet", "config not found: lenet. Did you mean lenet5?"),
        ("nowhere/x.yaml", "config not found: nowhere/x.yaml"),
        ("lenet5\nx", r"config not found: lenet5\x0ax"),
    ],
)
def test_a_missing_config(argument: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read_config(argument, data_dir=tmp_path)
    assert caught.value.message.startswith(message)


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_bytes(b"data: 1\nname: \xff\xfe\n")
    with pytest.raises(ConfigError, match=r"c.yaml:2 is not UTF-8 text"):
        read_config(str(config), data_dir=tmp_path)


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("epochs=3", "epochs: unknown field. Did you mean train.epochs?"),
        ("lr=0.1", "lr: unknown field. Did you mean train.optimizer.adamw.lr?"),
        ("layers=[logits]", "layers: unknown field. Did you mean model.layers?"),
        ("data.shift=1", "data.shift: unknown field. Did you mean data.augment.shift?"),
        ("name='a b'", "name: must consist of letters, digits, '.', '_' and '-', and start with a letter or digit"),
        (f"name={'a' * 81}", "name: must have at most 80 characters, found 81"),
    ],
)
def test_messages_about_a_single_field(assignment: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read_config("lenet5", data_dir=tmp_path, assignments=[assignment])
    assert message in caught.value.message


@pytest.mark.parametrize(
    ("field", "most", "more"),
    [
        ("data.augment.shift", 8192, 8193),
        ("data.augment.noise", 1000, 1e308),
        ("data.augment.gamma", 1000, 1e4),
        ("data.augment.crop.ratio", 1000, 1e4),
        ("data.augment.elastic.alpha", 8192, 1e308),
        ("data.augment.elastic.sigma", 1000, 1e4),
        ("data.augment.mixup.alpha", 100, 1e300),
        ("data.augment.mixup.alpha", 0, -1),
        ("data.augment.cutmix.alpha", 0.001, 0.0009),
        ("data.normalize", "{mean: -1e6, std: 1e6}", "{mean: -1e7, std: 1}"),
        ("data.normalize", "{mean: 1e6, std: 1e-6}", "{mean: 0, std: 1e-7}"),
        ("train.optimizer.adamw.lr", 1e30, 1e31),
        ("train.loss", "{focal: 100}", "{focal: 101}"),
        ("log.budget", 1e6, 2e6),
        ("log.weights", 1e6, 2e6),
    ],
)
def test_numbers_that_nobody_means(field: str, most: object, more: object, tmp_path: Path) -> None:
    read_config("lenet5", data_dir=tmp_path, assignments=[f"{field}={most}"])
    with pytest.raises(ConfigError, match=r"must be (0 or at least|less than|greater than)"):
        read_config("lenet5", data_dir=tmp_path, assignments=[f"{field}={more}"])


def write(tmp_path: Path, text: str) -> str:
    config = tmp_path / "c.yaml"
    config.write_text(text, encoding="utf-8")
    return str(config)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("{Conv2d: 4}", "unknown layer: Conv2d. Did you mean conv?"),
        ("{nn.ConvTranspose2d: 4}", "unknown layer: nn.ConvTranspose2d. Did you mean conv_transpose?"),
        ("{MaxPool2d: 2}", "unknown layer: MaxPool2d. Did you mean max_pool?"),
        ("{ReflectionPad2d: 1}", "unknown layer: ReflectionPad2d. Did you mean pad?"),
        ("{lrn: 5}", "unknown layer: lrn. Did you mean local_response_norm?"),
        ("bn", "unknown layer: bn. Did you mean batch_norm?"),
        ("swish", "unknown layer: swish. Did you mean silu?"),
        ("crelu", "unknown layer: crelu; it concatenates relu of x and of -x: use a branch with merge: concat"),
        (
            "{conv: {out_channels: 2, kernel_size: 1, activation: softmax}}",
            "so it is a layer: write softmax after this",
        ),
        ("{conv: {out_channels: 2, kernel_size: 1, activation: GLU}}", "it is a layer: write glu after this"),
        ("{conv: {out_channels: 2, kernel_size: 1, norm: lrn}}", "unknown norm: lrn; it comes after the activation"),
        ("{conv: {out_channels: 2, kernel_size: 1, norm: RMSNorm}}", "unknown norm: RMSNorm. Did you mean rms_norm?"),
        ("InstanceNorm2d", "unknown layer: InstanceNorm2d. Did you mean instance_norm?"),
        ("{MultiheadAttention: 4}", "unknown layer: MultiheadAttention. Did you mean self_attention?"),
        ("{StochasticDepth: 0.1}", "unknown layer: StochasticDepth. Did you mean drop_path?"),
        ("GLU", "unknown layer: GLU. Did you mean glu?"),
        ("{activation: relu}", "unknown layer: activation. Did you mean relu?"),
        ("{norm: batch}", "unknown layer: norm. Did you mean batch_norm?"),
        ("{conv: {out_channels: 2, kernel_size: 1, activation: CReLU}}", "unknown activation: CReLU; it concatenates"),
        ("{conv: {out_channels: 2, kernel_size: 1, activation: swish}}", "activation: swish. Did you mean silu?"),
        ("{conv: {out_channels: 2, kernel_size: 1, norm: BatchNorm2d}}", "norm: BatchNorm2d. Did you mean batch"),
    ],
)
def test_names_of_other_tools(layer: str, message: str, tmp_path: Path) -> None:
    config = write(tmp_path, f"data: {{name: digits}}\nmodel: {{layers: [{layer}, flatten, logits]}}\n")
    with pytest.raises(ConfigError, match=re.escape(message)):
        read_config(config, data_dir=tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "data: {name: digits}\nmodel: {layers: [flatten, {dense: 10}, logits]}\n",
            "unknown layer: dense. Did you mean linear?",
        ),
        (
            "data: {name: digits}\nmodel: {layers: [flatten, logits, softmax]}\n",
            "the network ends with softmax1; remove it, the loss contains the softmax",
        ),
        (
            "data: {name: digits}\nmodel: {layers: [{pad: {mode: reflect, channels: 1}}, flatten, logits]}\n",
            "model.layers.0.pad: channels needs mode: constant; remove it, or use two layers",
        ),
        (
            "data: {name: digits}\nmodel: {layers: [{pad: {mode: circular, value: 1}}, flatten, logits]}\n",
            "value needs mode: constant",
        ),
        (
            "data: {name: digits}\nmodel: {layers: [{pad: [[1, 2], [3]]}, flatten, logits]}\n",
            "model.layers.0.pad: must be one whole number or [before, after], found [3]",
        ),
        (
            "data: {name: digits}\nmodel: {layers: [{crop: {cropping: 1, size: 3}}, flatten, logits]}\n",
            "model.layers.0.crop: give either cropping or size",
        ),
        ("data: {name: digits}\nmodel: {layers: [conv 8, flatten, logits]}\n", "put a colon and a space after conv"),
        ("data: {name: DIGITS}\nmodel: {layers: [flatten, logits]}\n", "Did you mean digits?"),
        ("data: {name: digits}\nmodel: {layers: [{adaptive_avg_pool: [2, 5]}, flatten]}\n", "no layer has weights"),
        (
            "data: {name: digits, validation: 0}\nmodel: {layers: [flatten, logits]}\n"
            "train: {early_stopping: {patience: 2}}\n",
            "train.early_stopping: needs validation images, but data.validation is 0",
        ),
        (
            "data: {name: digits}\nmodel: {layers: [flatten, logits]}\ntrain: {top_k: 10}\n",
            "train.top_k: must be less than the number of classes, 10, found 10",
        ),
        (
            "data: {name: digits}\nmodel: {layers: [{conv: {out_channels: 2, kernel_size: 1, norm: {group: 2}}}, "
            "{adaptive_avg_pool: 1}, {group_norm: 2}, flatten, logits]}\n",
            "leaves one number in each group of 2 x 1 x 1",
        ),
        (
            "data: {name: digits}\nmodel: {layers: [{repeat: {times: 0, layers: [relu]}}, flatten, logits]}\n",
            "model.layers.0.repeat.times: must be at least 1, found 0",
        ),
    ],
)
def test_common_mistakes(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read_config(write(tmp_path, text), data_dir=tmp_path)
    assert message in caught.value.message


def test_shapes_are_checked_despite_other_problems(tmp_path: Path) -> None:
    text = "data: {name: digits}\nmodel: {layers: [{max_pool: 9}, flatten, logits]}\ntrain: {epochz: 3}\n"
    with pytest.raises(ConfigError) as caught:
        read_config(write(tmp_path, text), data_dir=tmp_path)
    assert "a pool of 9 x 9 does not fit" in caught.value.message
    assert "epochz: unknown field" in caught.value.message


def test_an_override_that_breaks_a_shape_is_named(tmp_path: Path) -> None:
    text = "data: {name: digits}\nmodel: {layers: [{max_pool: 2}, flatten, logits]}\n"
    flag = "model.layers.0.max_pool.kernel_size=99"
    with pytest.raises(ConfigError) as caught:
        read_config(write(tmp_path, text), data_dir=tmp_path, assignments=[flag])
    assert f"(with --set {flag})" in caught.value.message


def test_a_file_name_becomes_a_valid_name(tmp_path: Path) -> None:
    config = tmp_path / "mein netz, größer.yaml"
    config.write_text("data: {name: digits}\nmodel: {layers: [flatten, logits]}\n", encoding="utf-8")
    read = read_config(str(config), data_dir=tmp_path)
    resolved = tmp_path / "resolved.yaml"
    resolved.write_text(read.resolved(), encoding="utf-8")
    assert read_config(str(resolved), data_dir=tmp_path).name == read.name == "mein-netz-gr-er"
