"""Mixup and CutMix, against torchvision's."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.transforms import v2

from cnncli.data.mixing import Mix, Mixing

COUNT, CLASSES = 40, 3
WHOLE = torch.arange(COUNT)


def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(COUNT, 3, 9, 12, generator=generator), torch.randint(CLASSES, (COUNT,), generator=generator)


def drawn(**settings: float) -> Mix:
    return Mixing(classes=CLASSES, **settings).draw(COUNT, 9, 12, np.random.default_rng(5))


def mixed(mix: Mix) -> tuple[Tensor, Tensor]:
    images, labels = batch()
    targets = mix.targets(labels, labels.roll(1), WHOLE, CLASSES)
    return mix.images(images, images.roll(1, 0), WHOLE), targets


def torchvisions(kind: type[Any], i: int, **params: object) -> tuple[Tensor, Tensor]:
    """Image and target i, where the whole batch is mixed with the same numbers."""
    images, labels = batch()
    transform = kind(num_classes=CLASSES)
    params |= {"labels": labels, "batch_size": COUNT}
    return transform.transform(images, params)[i], transform.transform(labels, params)[i]


def test_mixup_is_torchvisions() -> None:
    mix = drawn(mixup_alpha=0.5)
    images, targets = mixed(mix)
    for i in range(COUNT):
        image, target = torchvisions(v2.MixUp, i, lam=float(mix.share[i]))
        torch.testing.assert_close(images[i], image)
        torch.testing.assert_close(targets[i], target)
    assert ((mix.share > 0.05) & (mix.share < 0.95)).any()


def test_cutmix_is_torchvisions() -> None:
    mix = drawn(cutmix_alpha=1.0)
    images, targets = mixed(mix)
    for i in range(COUNT):
        box = tuple(int(edge[i]) for edge in (mix.left, mix.top, mix.right, mix.bottom))
        image, target = torchvisions(v2.CutMix, i, box=box, lam_adjusted=float(mix.share[i]))
        assert torch.equal(images[i], image)
        torch.testing.assert_close(targets[i], target)
    areas = (mix.right - mix.left) * (mix.bottom - mix.top)
    assert mix.share.tolist() == pytest.approx((1 - areas / (9 * 12)).tolist())
    assert len(set(areas.tolist())) > 10


def test_rectangles_are_those_of_torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given the same numbers: a share of 0.36 makes a rectangle of 0.8 times each side, cut at the border."""

    class Fixed(np.random.Generator):
        def random(self, *_: object, **__: object) -> Any:
            return np.array([[0.9], [0.0], [0.7], [0.2]])

        def beta(self, *_: object, **__: object) -> Any:
            return np.array([0.36])

    mix = Mixing(classes=2, cutmix_alpha=1.0).draw(1, 9, 12, Fixed(np.random.PCG64(0)))
    transform = v2.CutMix(num_classes=2)
    monkeypatch.setattr(transform, "_dist", torch.distributions.Normal(0.36, 1e-9))
    centers = iter([torch.tensor([2]), torch.tensor([6])])  # 0.2 of 12 columns, 0.7 of 9 rows
    monkeypatch.setattr(torch, "randint", lambda *_, **__: next(centers))
    params = transform.make_params([torch.zeros(1, 1, 9, 12)])
    assert tuple(int(each[0]) for each in (mix.left, mix.top, mix.right, mix.bottom)) == params["box"]
    assert mix.share[0] == pytest.approx(params["lam_adjusted"])


def test_with_both_each_image_gets_one() -> None:
    mix = drawn(mixup_alpha=1.0, cutmix_alpha=1.0)
    cut, mixed_up = mix.right * mix.bottom > mix.left * mix.top, mix.weight < 1
    assert not (cut & mixed_up).any()
    assert 10 < mixed_up.sum() < 30
    assert 5 < cut.sum() < 30


def test_the_fraction_of_mixed_images() -> None:
    mix = Mixing(classes=2, mixup_alpha=1.0, mixup_probability=0.25).draw(2000, 4, 4, np.random.default_rng(0))
    assert (mix.weight < 1).mean() == pytest.approx(0.25, abs=0.03)
    assert (mix.share == mix.weight).all()


def test_the_shares_have_a_beta_distribution() -> None:
    """Its variance is 1 / (4 (2 alpha + 1))."""
    mix = Mixing(classes=2, mixup_alpha=0.3).draw(20_000, 4, 4, np.random.default_rng(0))
    assert mix.share.mean() == pytest.approx(0.5, abs=0.01)
    assert mix.share.var() == pytest.approx(1 / (4 * 1.6), rel=0.03)
