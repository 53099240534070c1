"""`cnncli schema`: the JSON Schema of configs."""

import json

import typer

from cnncli.cli.commands.options import DebugOption
from cnncli.config.schema import config_schema


def schema(debug: DebugOption = False) -> None:
    """Print the JSON Schema of configs, for completion and checks in editors.

    Examples:

      cnncli schema > cnncli.schema.json

    Then let the first line of a config be

      # yaml-language-server: $schema=cnncli.schema.json
    """
    typer.echo(json.dumps(config_schema(), indent=2))
