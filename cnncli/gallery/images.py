"""Which images a picture is about."""

from collections.abc import Callable, Sequence

from cnncli.errors import UsageError
from cnncli.trained import Seen, TrainedRun


def chosen_images(run: TrainedRun, images: Sequence[str], *, invert: bool, notify: Callable[[str], None]) -> list[Seen]:
    """The images that were named, each once, under slugs that differ: two files may have one name.

    Args:
        run: whose network looks at them.
        images: numbers of test images, and paths of picture files.
        invert: of the picture files, what is black is white and the other way round.
        notify: gets what was done to a picture file, and what may be wrong with it.

    Raises:
        UsageError: one of them is not there, two have one name, or there is nothing to invert.
    """
    if invert and all(image.isdecimal() for image in images):
        raise UsageError("--invert is for picture files of your own", remedy="leave it out for test images")
    seen = [run.seen(image, invert=invert) for image in dict.fromkeys(images)]
    slugs = [each.slug for each in seen]
    twice = {each for each in slugs if slugs.count(each) > 1}
    if twice:
        raise UsageError(
            f"several images are called {', '.join(sorted(twice))}", remedy="show them one after the other, or rename"
        )
    for each in seen:
        for note in each.notes:
            notify(note)
    return seen
