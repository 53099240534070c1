"""`cnncli schema`: the JSON Schema of configs."""

import json

import typer

from cnncli.spec.schema import config_schema


def schema() -> None:
    """Print the JSON Schema of configs, for completion and checks in editors.

    Examples:

      cnncli schema > cnncli.schema.json

      and as the first line of a config: # yaml-language-server: $schema=cnncli.schema.json
    """
    typer.echo(json.dumps(config_schema(), indent=2))
