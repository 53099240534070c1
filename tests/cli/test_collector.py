"""The garbage collector keeps away from what is imported, and only from that."""

import gc
import subprocess
import sys

from cnncli.cli.app import torch_uncollected

IMPORT = """
import gc
from cnncli.cli.app import torch_uncollected
walks = []
gc.callbacks.append(lambda phase, info: walks.append(phase))
with torch_uncollected():
    import torch
assert gc.isenabled()
print(len(walks), gc.get_freeze_count() > 100_000)
"""


def test_torch_is_imported_without_looking_for_garbage() -> None:
    done = subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0", "True"]


def test_where_torch_is_already_there_everything_goes_on_being_collected() -> None:
    import torch  # noqa: F401

    before = gc.get_freeze_count()
    with torch_uncollected():
        assert gc.isenabled()
    assert gc.get_freeze_count() == before
