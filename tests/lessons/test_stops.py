"""The stops of a window, by hand."""

import torch

from cnncli.lessons.reference import stops

X = torch.tensor([[0.0, 1, 2], [3, 4, 5], [6, 7, 8]])


def test_places_windows_and_products() -> None:
    first, second, third, fourth = stops(X, (2, 2))
    assert [stop.output for stop in (first, second, third, fourth)] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert (second.rows, second.columns) == ((0, 1), (1, 2))
    assert second.window.tolist() == [[1, 2], [4, 5]]
    assert first.products(torch.tensor([[0.0, 1], [2, 3]])).tolist() == [[0, 1], [6, 12]]


def test_padding_has_negative_places() -> None:
    every = stops(X, (2, 2), stride=(3, 2), padding=1, fill=-1)
    assert [(stop.rows, stop.columns) for stop in every] == [
        ((-1, 0), (-1, 0)),
        ((-1, 0), (1, 2)),
        ((2, 3), (-1, 0)),
        ((2, 3), (1, 2)),
    ]
    assert every[0].window.tolist() == [[-1, -1], [-1, 0]]


def test_dilation_leaves_gaps() -> None:
    (only,) = stops(X, (2, 2), dilation=2)
    assert (only.rows, only.columns) == ((0, 2), (0, 2))
    assert only.window.tolist() == [[0, 2], [6, 8]]
