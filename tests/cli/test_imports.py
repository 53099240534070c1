"""The garbage collector is off while modules are imported, and only then."""

import gc
import subprocess
import sys

from cnncli.cli.imports import garbage_collector_off

IMPORT = """
import gc
from cnncli.cli.imports import garbage_collector_off
collections = []
gc.callbacks.append(lambda phase, info: collections.append(phase))
with garbage_collector_off():
    import torch
assert gc.isenabled()
print(len(collections), gc.get_freeze_count() > 100_000)
"""


def test_torch_is_imported_without_garbage_collection() -> None:
    done = subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0", "True"]


def test_without_a_new_module_every_object_is_still_collected() -> None:
    before = gc.get_freeze_count()
    with garbage_collector_off():
        assert not gc.isenabled()
    assert gc.isenabled()
    assert gc.get_freeze_count() == before
