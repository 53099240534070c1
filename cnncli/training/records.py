"""The JSON files of a run, read strictly: what is missing, of another type or out of range is named with its place.

Keys that are not described here are kept as they are. Nothing here needs torch.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cnncli.errors import RunError

State: TypeAlias = Literal["running", "complete", "interrupted", "failed"]

MOST_STEPS = 10**11
"""A larger number of steps is an error: it would take three years at a thousand steps a second."""

_Epoch = Annotated[int, Field(ge=0, le=MOST_STEPS)]
_Step = Annotated[int, Field(ge=0, le=MOST_STEPS)]
_Fraction = Annotated[float, Field(ge=0, le=1)]
_Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Record(BaseModel):
    """A JSON object; other keys are allowed."""

    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False, defer_build=True)


class StatusRecord(Record):
    """`status.json`."""

    state: State
    reason: str | None = None


class ScoreRecord(Record):
    """Loss and accuracy of an epoch on a split; a loss that was not finite is null.

    The others are those of evaluated images.
    """

    loss: float | None
    accuracy: _Fraction
    balanced_accuracy: _Fraction | None = None
    macro_precision: _Fraction | None = None
    macro_f1: _Fraction | None = None
    top_k_accuracy: _Fraction | None = None


class EpochRecord(Record):
    """A line of `metrics.jsonl`."""

    epoch: Annotated[int, Field(ge=1, le=MOST_STEPS)]
    step: _Step
    train: ScoreRecord
    val: ScoreRecord | None
    seconds: Annotated[float, Field(ge=0)]


class ClassScoresRecord(ScoreRecord):
    """The scores of the best weights on a split; the accuracy of a class without images is null."""

    top_k: Annotated[int, Field(ge=1)] | None = None
    per_class: dict[str, _Fraction | None]


class ResultsRecord(Record):
    """`results.json`; without `test` in the trials of a sweep."""

    epoch: _Epoch
    train: ClassScoresRecord
    val: ClassScoresRecord | None = None
    test: ClassScoresRecord | None = None


class DeviceRecord(Record):
    """The device of a run."""

    type: str
    name: str


class InitFromRecord(Record):
    """The weights of another network that a run started from."""

    path: str
    sha256: _Sha256


class MetadataRecord(Record):
    """`metadata.json`."""

    versions: dict[str, str | None]
    platform: str
    device: DeviceRecord
    threads: Annotated[int, Field(ge=1)]
    processes: Annotated[int, Field(ge=1)] = 1
    data: dict[str, str]
    init_from: InitFromRecord | None = None
    command: list[str]
    resumed: "list[MetadataRecord]" = Field(default_factory=list)
    step: _Step = 0
    checkpoint: Literal["last", "best"] = "last"
    changed: list[str] = Field(default_factory=list)


class HashesRecord(Record):
    """SHA-256 hashes of the files of a checkpoint."""

    weights: _Sha256 = Field(alias="weights.safetensors")
    state: _Sha256 = Field(alias="state.pt")


class ExtentRecord(Record):
    """How far a file was to which a run appends."""

    size: Annotated[int, Field(ge=0, alias="bytes")]
    sha256: _Sha256


class LoggedRecord(Record):
    """What a run had logged when a checkpoint of it was written; the names are those of event files in the run."""

    metrics: ExtentRecord
    events: dict[Annotated[str, Field(pattern=r"^events\.out\.tfevents\.[^/\\]+$")], ExtentRecord]
    pictures: list[_Step]
    omitted: list[str]


class PreprocessingRecord(Record):
    """What prepares an image; see `cnncli.data.preprocessing.Preprocessing`."""

    channels: Annotated[int, Field(ge=1)]
    size: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=2, max_length=2)]
    mean: list[float]
    std: list[Annotated[float, Field(gt=0)]]
    classes: Annotated[list[str], Field(min_length=1)]
    range: Annotated[list[float], Field(min_length=2, max_length=2)] | None = None


class ManifestRecord(Record):
    """`manifest.json` of a checkpoint."""

    format: int
    epoch: _Epoch
    step: _Step
    cnncli: str
    torch: str
    preprocessing: PreprocessingRecord | None = None
    config: str | None = None
    files: HashesRecord
    run: LoggedRecord | None = None
    sha256: _Sha256


def read_record(path: Path, kind: type[Record]) -> dict[str, Any]:
    """Read a JSON file.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not such a record; the message says what is wrong.
    """
    return parse_record(path.read_bytes(), kind)


def parse_record(text: bytes, kind: type[Record]) -> dict[str, Any]:
    """The object that a JSON text describes.

    Raises:
        ValueError: it is not such a record.
    """
    record = parse_json(text)
    check_record(record, kind)
    return record


def parse_json(text: bytes) -> dict[str, Any]:
    """The object that a JSON text describes. NaN and infinity, which Python reads although JSON has none, are refused.

    Raises:
        ValueError: it is not JSON, or not an object.
    """
    try:
        value = json.loads(text.decode(), parse_constant=_refuse)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not JSON: {error}") from None
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8 text") from None
    if not isinstance(value, dict):
        raise ValueError("it must be a JSON object")  # noqa: TRY004  callers expect one type for damage
    return value


def check_record(record: object, kind: type[Record]) -> None:
    """Check an object.

    Raises:
        ValueError: it is not such a record; the message has its first problem and the place of it.
    """
    try:
        kind.model_validate(record)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        message = "is missing" if first["type"] == "missing" else first["msg"].replace("Input should be", "must be")
        raise ValueError(f"{place} {message}" if place else message) from None


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The records of `metrics.jsonl`, without a last line that a crash has cut off; empty if there is no file.

    Raises:
        RunError: the file cannot be read, a line is damaged, or an epoch is missing or repeated; names the line.
    """
    try:
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror or error}", remedy="check its permissions") from error
    if lines and not lines[-1].endswith(b"\n"):
        lines.pop()
    records: list[dict[str, Any]] = []
    for number, line in enumerate(lines, 1):
        try:
            record = parse_record(line, EpochRecord)
            if problem := _out_of_order(record, records):
                raise ValueError(problem)  # noqa: TRY301  the same message as for another damage
        except ValueError as error:
            raise RunError(f"{path}: line {number}: {error}", remedy="restore the file from a copy") from None
        records.append(record)
    return records


def _out_of_order(record: Mapping[str, Any], before: Sequence[Mapping[str, Any]]) -> str | None:
    """Why a record cannot follow those before it."""
    if record["epoch"] != len(before) + 1:
        return f"it is epoch {record['epoch']}, not {len(before) + 1}"
    if before and record["step"] <= before[-1]["step"]:
        return f"step {record['step']} is not after that of the epoch before"
    return None


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")
