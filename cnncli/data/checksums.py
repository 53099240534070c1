"""MD5 checksums of data files, each computed once and remembered beside the data."""

import hashlib
import json
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

MEMORY = ".cnncli-verified.json"
"""In the data directory: path, size, time of change and MD5 of every file that was checked."""


class Checksums:
    """Checksums of the files in one data directory; a file is read again only after its size or time changed.

    Args:
        data_dir: where the memory is kept; nothing is remembered where that cannot be written.
    """

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._seen: dict[str, Any] = {}
        self._changed = False
        with suppress(OSError, ValueError):
            seen = json.loads((data_dir / MEMORY).read_text(encoding="utf-8"))
            self._seen = seen if isinstance(seen, dict) else {}

    def md5(self, path: Path) -> str:
        """The MD5 of a file in the data directory."""
        key = path.relative_to(self._data_dir).as_posix()
        status = path.stat()
        facts = {"size": status.st_size, "mtime_ns": status.st_mtime_ns}
        known = self._seen.get(key)
        if isinstance(known, dict) and facts.items() <= known.items() and isinstance(known.get("md5"), str):
            return str(known["md5"])
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
        self._seen[key] = {**facts, "md5": digest}
        self._changed = True
        return digest

    def remember(self) -> None:
        """Write what is new; where the directory cannot be written, files are just read again."""
        if not self._changed:
            return
        with suppress(OSError):
            text = json.dumps(self._seen, indent=1, sort_keys=True)
            with NamedTemporaryFile("w", dir=self._data_dir, prefix=MEMORY, delete=False, encoding="utf-8") as file:
                file.write(text)
            Path(file.name).replace(self._data_dir / MEMORY)
