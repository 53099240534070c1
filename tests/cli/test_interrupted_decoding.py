"""Ctrl-C on a terminal while worker processes decode an image folder."""

import os
import re
import sys
import time
from pathlib import Path

import pexpect
import pytest
from PIL import Image

CONFIG = """\
data: {name: image-folder, path: pets, size: 1024}
model: {layers: [global_avg_pool, logits]}
"""
# Makes decoding slow in the program that is started.
SLOW = """\
import time, PIL.Image
real = PIL.Image.open
def open(file):
    time.sleep(0.1)
    return real(file)
PIL.Image.open = open
"""


def processes_with(text: str) -> list[str]:
    """The commands that run with `text` in their environment."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if text.encode() in (path / "environ").read_bytes():
                found.append((path / "cmdline").read_text(encoding="utf-8"))
        except OSError:
            continue
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_ctrl_c_leaves_no_file_and_no_process(folder: Path, environment: dict[str, str]) -> None:
    """No partial file, no process and no traceback are left; progress was shown before."""
    for number in range(240):  # with 3 MiB of pixels each, which is more than is kept in memory
        path = folder / "data" / "pets" / ("cat", "dog")[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4), number).save(path)
    (folder / "pets.yaml").write_text(CONFIG, encoding="utf-8")
    (folder / "sitecustomize.py").write_text(SLOW, encoding="utf-8")
    slow = {**environment, "PYTHONPATH": os.pathsep.join([str(folder), environment["PYTHONPATH"]]), "CNNCLI_DATA": ""}
    child = pexpect.spawn(
        sys.executable,
        ["-m", "cnncli", "train", "pets.yaml"],
        env=slow,
        encoding="utf-8",
        timeout=60,
        dimensions=(24, 200),
    )
    child.expect(r"decoding 192 images of \S+ once, into (\S+) \(0.60 GB\)")
    child.expect(r"\d+ of 192 images decoded, \d+/s, \d:\d\d left")
    cache = folder / "data" / ".cnncli-cache"
    (part,) = cache.iterdir()
    assert part.suffix == ".part"
    assert part.stat().st_size
    child.sendintr()
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 130
    assert not re.search("Traceback|Error", child.before or "")
    assert list(cache.iterdir()) == []
    deadline = time.monotonic() + 10
    while left := processes_with(str(folder)):
        assert time.monotonic() < deadline, left
        time.sleep(0.05)
