"""How far the files were to which a run appends, when a checkpoint of it was written.

A run is resumed from there: what was written later is cut off and written again, so that nothing is there twice.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from cnncli.files import Extent

METRICS = "metrics.jsonl"
EVENT_FILES = "events.out.tfevents.*"
CHANGED_EVENTS = "it does not hold what it held when the checkpoint was written"


@dataclass(frozen=True, kw_only=True)
class Logged:
    """What a run had logged at some time.

    Attributes:
        metrics: the extent of metrics.jsonl.
        events: the extent of each event file, by name.
        pictures: the steps that have pictures, ascending.
        omitted: tags of pictures that `log.budget` does not permit.
    """

    metrics: Extent = field(default_factory=Extent)
    events: Mapping[str, Extent] = field(default_factory=dict)
    pictures: tuple[int, ...] = ()
    omitted: tuple[str, ...] = ()

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """From what `as_record` gives."""
        return cls(
            metrics=_extent(record["metrics"]),
            events={name: _extent(extent) for name, extent in record["events"].items()},
            pictures=tuple(record["pictures"]),
            omitted=tuple(record["omitted"]),
        )

    def as_record(self) -> dict[str, Any]:
        """A JSON object, for the manifest of a checkpoint."""
        return {
            "metrics": _extent_record(self.metrics),
            "events": {name: _extent_record(extent) for name, extent in self.events.items()},
            "pictures": list(self.pictures),
            "omitted": list(self.omitted),
        }

    def changed_event_files(self, run: Path) -> Iterator[str]:
        """The event files in a run directory that do not begin as they did, by name; missing ones are not among them.

        Raises:
            OSError: one cannot be read.
        """
        for name, extent in self.events.items():
            if (run / name).exists() and not extent.is_beginning_of(run / name):
                yield name

    def missing_event_files(self, run: Path) -> list[str]:
        """The event files that are no longer in a run directory, by name."""
        return [name for name in self.events if not (run / name).exists()]


def _extent(record: Mapping[str, Any]) -> Extent:
    return Extent(record["bytes"], record["sha256"])


def _extent_record(extent: Extent) -> dict[str, int | str]:
    return {"bytes": extent.size, "sha256": extent.sha256}
