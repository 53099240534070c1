"""`cnncli schema`: print the JSON Schema of configs."""

import json

import typer

from cnncli.cli.commands.options import DebugOption
from cnncli.config.schema import config_schema


def schema(debug: DebugOption = False) -> None:
    """Print the JSON Schema of configs, for completion and checks in editors.

    Examples:

      cnncli schema > cnncli.schema.json

    A config uses it with this first line:

      # yaml-language-server: $schema=cnncli.schema.json
    """
    typer.echo(json.dumps(config_schema(), indent=2))
