"""Manifests of checkpoints that are changed on purpose, and fit their hash nevertheless."""

import json
from pathlib import Path
from typing import Any

from cnncli.training.checkpoint import manifest_hash


def write_manifest(path: Path, manifest: dict[str, Any]) -> None:
    """Write a manifest with the hash of what it says."""
    path.write_text(json.dumps(manifest | {"sha256": manifest_hash(manifest)}), encoding="utf-8")
