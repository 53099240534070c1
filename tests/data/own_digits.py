"""The embedded digits as people's own images: with the same pixels, labels and parts, in the same order."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from cnncli.data.digits import load_digits


def write_digits(folder: Path, kind: str) -> str:
    """Write them as `csv`, `npz` or `parquet` into a folder; returns the fields of `data` that read them."""
    digits = load_digits()
    parts = {"train": digits.train, "test": digits.test}
    path = folder / "digits"
    path.mkdir()
    if kind == "npz":
        arrays: dict[str, Any] = {
            f"{name}_{what}": values.numpy()
            for name, part in parts.items()
            for what, values in (("images", part.images[:, 0]), ("labels", part.labels))
        }
        np.savez(path / "digits.npz", **arrays)
        return f"name: npz, path: {path}/digits.npz, size: 8"
    rows = ["path,label,split"]
    for name, part in parts.items():
        contents = []
        for number, (image, label) in enumerate(zip(part.images[:, 0].numpy(), part.labels.tolist(), strict=True)):
            file = io.BytesIO()
            Image.fromarray(image).save(file, "PNG")
            contents.append({"bytes": file.getvalue(), "path": None})
            rows.append(f"{name}-{number}.png,{label},{name}")
            if kind == "csv":
                (path / f"{name}-{number}.png").write_bytes(file.getvalue())
        names = {"label": {"_type": "ClassLabel", "names": list(digits.classes)}}
        table = pa.table({"image": pa.array(contents), "label": part.labels.numpy()})
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": names}})})
        middle = len(table) // 2
        for shard, piece in enumerate((table[:middle], table[middle:]) if kind == "parquet" else ()):
            pq.write_table(piece, path / f"{name}-{shard:05}-of-00002.parquet", row_group_size=100)
    (path / "labels.csv").write_text("\n".join(rows))
    return f"name: {kind}, path: {path}{'/labels.csv' if kind == 'csv' else ''}, size: 8, channels: 1"
