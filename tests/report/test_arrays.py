"""Arrays in a page, read back by the page's own JavaScript."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from cnncli.report.arrays import Arrays

SHARED = Path(__file__).parents[2] / "cnncli" / "report" / "assets" / "shared"
READ = f"""
import {{ loadArrays, PageArrays }} from "{(SHARED / "arrays.js").as_uri()}";
import {{ decodeBytes }} from "{(SHARED / "numbers.js").as_uri()}";
const [index, text, raw] = JSON.parse(await new Response(process.stdin).text());
const plain = (arrays) => {{
  if (arrays.get("nothing") !== undefined) throw new Error("an array that is not there");
  return Object.fromEntries(arrays.keys().map((key) => [key, arrays.get(key)]).map(([key, numbers]) => [key, {{
    type: numbers.constructor.name,
    bits: [...new Uint8Array(numbers.buffer, numbers.byteOffset, numbers.byteLength)],
  }}]));
}};
const uncompressed = new PageArrays();
uncompressed.add(index, decodeBytes(raw));
console.log(JSON.stringify([await loadArrays(index, text), uncompressed].map(plain)));
"""


def test_the_page_reads_every_bit(tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    random = np.random.default_rng(0)
    halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    halves = halves[~np.isnan(halves)]  # all of them; a NaN has many bit patterns
    given: dict[str, npt.NDArray[Any]] = {
        "images": random.integers(0, 256, (3, 1, 5, 4), dtype=np.uint8),
        "weights/0": random.normal(size=(7, 3)).astype(np.float32),
        "special": np.array([0.0, -0.0, np.inf, -np.inf, 1e-45, 3.4e38], dtype=np.float32),
        "halves": halves,
        "empty": np.zeros(0, dtype=np.float32),
    }
    arrays = Arrays()
    for key, array in given.items():
        arrays.add(key, array)
    (tmp_path / "read.mjs").write_text(READ)
    done = subprocess.run(
        [node, tmp_path / "read.mjs"],
        input=json.dumps([arrays.index, arrays.text(), arrays.raw_text()]),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stderr == ""
    for found in json.loads(done.stdout):
        assert list(found) == list(given)
        for key, array in given.items():
            expected = array if array.dtype == np.uint8 else array.astype(np.float32)
            assert found[key]["type"] == ("Uint8Array" if array.dtype == np.uint8 else "Float32Array")
            assert bytes(found[key]["bits"]) == expected.tobytes(), key


def test_keys_are_used_once() -> None:
    arrays = Arrays()
    arrays.add("images", np.zeros(3, np.uint8))
    with pytest.raises(AssertionError, match="images is there already"):
        arrays.add("images", np.zeros(3, np.uint8))
