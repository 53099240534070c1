"""mnist-fast (or `--config`) to 99 % of MNIST, compared with Keras's simple convolutional network.

    pip install keras
    python -m benchmarks keras_convnet

That network has two 3x3 convolutions of 32 and 64 channels, a 2x2 pool after each, and dropout; it trains in batches of
128 with Adam for at most 15 epochs, with a tenth of the images for validation and torch as the backend. Each round is
one training run with the number of the round as its seed. Measuring the accuracy on the test images is not timed.
"""

import importlib
import importlib.util
import os
from typing import Any

import torch

from benchmarks import ours
from benchmarks.measure import (
    Comparison,
    Contender,
    Missing,
    Numbers,
    Settings,
    Setups,
    compare,
    in_processes,
    until_accurate,
)
from cnncli.data.load import load_dataset

RECIPE = "mnist-fast"
MOST_EPOCHS = 15


def run(settings: Settings) -> list[Comparison]:
    """Raises Missing without Keras; a quick run then measures cnncli alone."""
    recipe, target = settings.config or RECIPE, 0.0 if settings.quick else 0.99
    contenders: Setups = {recipe: (ours.training_by_seed, (settings, recipe, target))}
    if importlib.util.find_spec("keras") is not None:
        contenders = {**contenders, "Keras's example": (convnet_by_seed, (settings, target))}
    elif not settings.quick:
        raise Missing("keras")
    with in_processes(contenders, settings) as processes:
        return compare("MNIST", processes, rounds=settings.rounds_or(3), warmup=0)


def convnet_by_seed(settings: Settings, target: float) -> Contender:
    """Train until the accuracy on the test images is `target`, at most as long as the example does."""
    torch.set_num_threads(settings.threads)
    os.environ["KERAS_BACKEND"] = "torch"  # read at import
    keras = importlib.import_module("keras")
    spec = ours.read(settings, "two_convolutions").data
    dataset = load_dataset(spec, data_dir=settings.data_dir)
    (images, labels), (test_images, test_labels) = (
        ((part.images.permute(0, 2, 3, 1).numpy() / 255).astype("float32"), part.labels.numpy())
        for part in (dataset.train, dataset.test)
    )

    def training(turn: int) -> Numbers:
        keras.utils.set_random_seed(turn)
        model = _convnet(keras)
        targets = keras.utils.to_categorical(labels, 10)

        def accuracy() -> float:
            predicted = model.predict(test_images, batch_size=1000, verbose=0).argmax(axis=1)
            return float((predicted == test_labels).mean())

        return until_accurate(
            target,
            lambda: model.fit(images, targets, batch_size=128, epochs=1, validation_split=0.1, verbose=0),
            accuracy,
            most_epochs=1 if settings.quick else MOST_EPOCHS,
        )

    return training


def _convnet(keras: Any) -> Any:  # noqa: ANN401  Keras may not be installed
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(loss="categorical_crossentropy", optimizer="adam", metrics=["accuracy"])
    return model
