"""Folds and out-of-sample probabilities."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from cnncli.audit.folds import predict_out_of_sample, stratified_folds
from cnncli.config.config import Config, read_config
from cnncli.data.images import Dataset
from cnncli.data.load import load_dataset

TINY = """\
version: 1
data: {name: digits, size: 8, validation: 0}
model: {layers: [flatten, logits]}
train: {epochs: 6, batch_size: 64, optimizer: {adamw: {lr: 2e-2}}}
"""


@pytest.fixture
def config(tmp_path: Path) -> Config:
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY, encoding="utf-8")
    return read_config(str(path), data_dir=tmp_path)


@pytest.fixture
def digits(config: Config, tmp_path: Path) -> Dataset:
    return load_dataset(config.data, data_dir=tmp_path)


def test_the_folds_are_balanced() -> None:
    labels = np.repeat([0, 1, 2], [7, 50, 13])
    folds = stratified_folds(labels, 4, seed=0)
    assert sorted(np.bincount(folds).tolist()) == [17, 17, 18, 18]
    for label in range(3):
        counts = np.bincount(folds[labels == label], minlength=4)
        assert counts.max() - counts.min() <= 1
    assert (folds == stratified_folds(labels, 4, seed=0)).all()
    assert (folds != stratified_folds(labels, 4, seed=1)).any()


def test_no_image_is_predicted_by_a_network_that_has_seen_it(config: Config, digits: Dataset, tmp_path: Path) -> None:
    """Random labels cannot be predicted from other images; a network that has seen them would remember some."""
    shuffled = torch.randperm(len(digits.train), generator=torch.Generator().manual_seed(0))
    random = dataclasses.replace(digits, train=dataclasses.replace(digits.train, labels=digits.train.labels[shuffled]))
    found = predict_out_of_sample(config, random, folds=2, device=torch.device("cpu"))
    accuracy = (found.train.argmax(axis=1) == random.train.labels.numpy()).mean()
    assert accuracy < 0.15  # chance is 0.10, with a standard deviation of 0.008
    assert found.train.sum(axis=1) == pytest.approx(1)
    assert found.test.sum(axis=1) == pytest.approx(1)
    assert found.test.shape == (359, 10)


def test_the_predictions_are_good_and_repeatable(config: Config, digits: Dataset) -> None:
    one, other = (predict_out_of_sample(config, digits, folds=2, device=torch.device("cpu")) for _ in range(2))
    assert (one.train == other.train).all()
    assert (one.test == other.test).all()
    for images, probabilities in ((digits.train, one.train), (digits.test, one.test)):
        assert (probabilities.argmax(axis=1) == images.labels.numpy()).mean() > 0.9
