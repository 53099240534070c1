"""The field `train.init_from`: a network whose weights a training starts from."""

from typing import Annotated

from pydantic import BeforeValidator, Field

from cnncli.fields import Listed, Spec

_Path = Annotated[str, Field(min_length=1)]


def _path_alone(value: object) -> object:
    return {"path": value} if isinstance(value, str) else value


class InitFrom(Spec):
    """Weights of a trained network."""

    path: _Path = Field(description="a run, a checkpoint, a .safetensors file, or a state dict saved with torch.save")
    skip: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Listed] = Field(
        default=(), description="layers and blocks of this network that get new weights"
    )


InitFromChoice = Annotated[InitFrom, BeforeValidator(_path_alone, json_schema_input_type=_Path | InitFrom)]
