"""A guided tour of a network, read from a teacher's YAML file for the playground."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote

from pydantic import Field, ValidationError

from cnncli.config.document import Kind, Problem, Route, read_document
from cnncli.config.network import INPUT, Network
from cnncli.config.problems import problems_of
from cnncli.errors import did_you_mean
from cnncli.fields import Listed, Spec, Whole

Part = Literal["input", "answer", "network", "unit", "what-if", "attribution", "patches", "time"]
"""Sections of the playground that a step can show, by the id in `assets/play/play.js`."""


_TOUR = Kind(noun="a tour", keys="title and steps", remedy="give --tour the path of a YAML file")


class TourStep(Spec):
    """One step: a text, and what the page shows beside it."""

    title: str | None = None
    text: Annotated[str, Field(min_length=1)]
    layer: str | None = None
    filter: Whole | None = None
    at: Annotated[tuple[Whole, Whole], Listed] | None = None
    image: Whole | None = None
    step: Whole | None = None
    part: Part | None = None


class TourFields(Spec):
    """The keys of a tour file."""

    title: Annotated[str, Field(min_length=1)]
    steps: Annotated[tuple[TourStep, ...], Listed, Field(min_length=1)]


def read_tour(path: Path, network: Network) -> dict[str, Any]:
    """A tour as JSON: `title`, and `steps` with `title` (or null), `text` and `link`.

    `link` is the part of an address after `#`, such as `layer=conv2&filter=3&at=5,7`: the page opens it as any deep
    link. `images` are the numbers of the test images that the steps name, so that the page can hold them.

    Args:
        path: a YAML file.
        network: the network that the page shows.

    Raises:
        ConfigError: the file cannot be read, or names a layer, a filter or a position that the network lacks. All
            problems are listed, each with its line.
    """
    document = read_document(path, _TOUR)
    try:
        tour = TourFields.model_validate(document.data)
    except ValidationError as error:
        document.raise_problems(problems_of(error, TourFields, document.data))
        raise AssertionError("a validation error has problems") from error
    document.raise_problems(
        problem for number, step in enumerate(tour.steps) for problem in _problems(("steps", number), step, network)
    )
    steps = [{"title": step.title, "text": step.text, "link": _link(step)} for step in tour.steps]
    images = sorted({step.image for step in tour.steps if step.image is not None})
    return {"title": tour.title, "steps": steps, "images": images}


def _problems(route: Route, step: TourStep, network: Network) -> Iterator[Problem]:
    """What a step names and the network lacks."""
    shapes = {INPUT: network.input_shape} | {node.name: node.shape for node in network.nodes}
    if step.layer is None:
        for key in ("filter", "at"):
            if getattr(step, key) is not None:
                yield Problem((*route, key), f"{key} needs the name of a layer; add layer", at_key=True)
        return
    if step.layer not in shapes:
        yield Problem((*route, "layer"), f"unknown layer: {step.layer}{did_you_mean(step.layer, shapes)}")
        return
    channels, *size = shapes[step.layer]
    if step.filter is not None and step.filter >= channels:
        yield Problem((*route, "filter"), f"{step.layer} has {channels} channels, 0 to {channels - 1}")
    if step.at is None:
        return
    if not size:
        yield Problem((*route, "at"), f"the units of {step.layer} have no position; omit at", at_key=True)
    elif any(place >= length for place, length in zip(step.at, size, strict=True)):
        yield Problem((*route, "at"), f"the maps of {step.layer} have {size[0]} rows and {size[1]} columns")


def _link(step: TourStep) -> str:
    values = {
        "layer": step.layer,
        "filter": step.filter,
        "at": None if step.at is None else f"{step.at[0]},{step.at[1]}",
        "step": step.step,
        "image": step.image,
        "part": step.part,
    }
    return "&".join(f"{key}={quote(str(value), safe=',')}" for key, value in values.items() if value is not None)
