"""Images made to excite a unit as much as possible, beside the best real ones."""

from collections.abc import Iterator, Sequence

from cnncli.gallery.exhibit import Exhibit
from cnncli.gallery.patches import BEYOND, cutting, filter_name, filters_of, layers_with_filters, left_out, patch_tile
from cnncli.interpret.maximise import STARTS, STEPS, Unit, centre, maximise
from cnncli.interpret.patches import Excited, cut, images_at_once, most_exciting
from cnncli.pictures.maximise import Pair, maximise_card, maximise_picture
from cnncli.pictures.patches import Cutting
from cnncli.spec.layers import Logits
from cnncli.spec.network import Node
from cnncli.trained import TrainedRun

MOST_FILTERS = 9
"""In one picture, unless they are named; of logits all classes up to `MOST_CLASSES`."""
MOST_CLASSES = 30
SEED = 0
AT_ONCE = 16
"""Units whose images are made together."""


def maximised(
    run: TrainedRun, *, layers: Sequence[str] = (), filters: Sequence[int] = (), steps: int = STEPS
) -> Iterator[Exhibit]:
    """A picture for each convolution and for the last layer, or for each of `layers`.

    Of a layer with positions the unit in the middle is excited, and what it sees is shown.

    Args:
        run: whose network it is.
        layers: names.
        filters: numbers; without any, the first `MOST_FILTERS`.
        steps: of gradient ascent.

    Raises:
        UsageError: a layer has no such name, or no such filter.
    """
    nodes = layers_with_filters(run, layers)
    if not layers:
        nodes = tuple(dict.fromkeys((*nodes, run.network.nodes[-1])))
    chosen = {
        node.name: filters_of(node, filters, MOST_CLASSES if isinstance(node.layer, Logits) else MOST_FILTERS)
        for node in nodes
    }
    batches = run.batches(batch_size=images_at_once(run.network))
    real = most_exciting(run.model, list(chosen), (images for images, _ in batches.epoch(1)), count=1)
    for node in nodes:
        yield _exhibit(run, node, [real[node.name][i] for i in chosen[node.name]], steps)


def class_images(run: TrainedRun) -> Iterator[Exhibit]:
    """Only the images of the last layer: one for each class."""
    yield from maximised(run, layers=[run.network.nodes[-1].name])


def _exhibit(run: TrainedRun, node: Node, real: Sequence[Excited], steps: int) -> Exhibit:
    pairs, reached = [], []
    for excited, (made, value) in zip(real, _made(run, node, [each.filter for each in real], steps), strict=True):
        (best,) = excited.best
        label = run.classes[int(run.test.labels[best.image])]
        lines = [f"made {value:.4g}", f"real {best.value:.4g}", f"{label}, #{best.image}"]
        pairs.append(
            Pair(
                name=filter_name(run, node, excited.filter),
                made=made,
                real=cutting(run, node, best),
                lines=lines,
                short=f"{value:.3g} / {best.value:.3g}",
            )
        )
        reached.append(value >= best.value)
    title = f"{node.name}: made to excite its {'classes' if isinstance(node.layer, Logits) else 'filters'}"
    where = (
        f"the unit at row {centre(node)[0]}, column {centre(node)[1]}, cut at its field"
        if node.shape[1:]
        else "the whole image"
    )
    legend = f"Left: made in {steps} steps of gradient ascent; {where}. Right: the best real one, of all test images."
    counts = [
        f"{sum(reached)} of {len(reached)} made ones reach at least what the best real one does.",
        *left_out(node, len(real)),
    ]
    return Exhibit(
        tag=f"maximise/{run.network.numbered()[node.name]}",
        title=title,
        pixels=maximise_picture(pairs, title=title, captions=[legend, *counts]).pixels,
        card=maximise_card(pairs, title=title),
        tiles=[
            patch_tile(each, f"{pair.name}, {line}")
            for pair in pairs
            for each, line in zip((pair.made, pair.real), pair.lines, strict=False)
        ],
        numbers={"made_at_least_real": sum(reached), "made": len(reached)},
        lines=[" ".join(counts)],
    )


def _made(run: TrainedRun, node: Node, filters: Sequence[int], steps: int) -> Iterator[tuple[Cutting, float]]:
    """For each filter what its unit sees of the image made for it, and its activation."""
    place = centre(node)
    together = max(1, min(AT_ONCE, images_at_once(run.network) // (4 * STARTS)))  # gradients need more room
    for first in range(0, len(filters), together):
        found = maximise(
            run.model,
            node,
            [Unit(filter=number, place=place) for number in filters[first : first + together]],
            normalization=run.normalization,
            seed=SEED,
            jitter=0 if place else 1,
            steps=steps,
        )
        for image, value in zip(found.images, found.values, strict=True):
            picture = (image * 255).round().byte().cpu()
            patch = cut(run.inspection, node.name, place, picture, beyond=BEYOND)
            shown = Cutting(
                pixels=patch.pixels, padding=patch.padding, unread=patch.unread, source=picture, marked=None
            )
            yield shown, value
