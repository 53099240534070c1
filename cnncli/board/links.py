"""Addresses inside a TensorBoard that show one kind of card each, out of the hundred that a run can have."""

from collections.abc import Mapping
from urllib.parse import quote, urlencode

VIEWS: Mapping[str, Mapping[str, str]] = {
    "curves": {"tagFilter": "^(accuracy|loss)/", "smoothing": "0"},  # of few points, which smoothing would bend
    "kernels": {"tagFilter": "^kernels/"},
    "evolution": {"tagFilter": "^evolution/"},
    "feature maps": {"tagFilter": "^feature_maps/"},
    "show": {"runFilter": "(^|/)show$", "tagFilter": "/"},  # without a filter of tags, groups would be folded
}
"""What people look for, and how the Time Series tab is asked for it. Filters are regular expressions."""


def links(address: str) -> dict[str, str]:
    """Name of a view -> its address.

    Args:
        address: of the TensorBoard, with a slash at the end.
    """
    return {name: f"{address}?{urlencode(query, quote_via=quote)}#timeseries" for name, query in VIEWS.items()}
