"""Fixtures of several packages: the real data sets and a browser, which not every machine has, and the program."""

import os
import re
import shutil
import sys
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from filelock import FileLock
from hypothesis import settings
from playwright.sync_api import Browser, sync_playwright

from cnncli.cli.app import main
from cnncli.cli.imports import garbage_collector_off
from tests.browser.pages import Tabs

ExitCodeOf = Callable[..., int]
BuildOnce = Callable[[str, Callable[[Path], object]], Path]
Decode = Callable[[npt.NDArray[np.uint8], float], npt.NDArray[np.float64]]

CHECKOUT = Path(__file__).resolve().parents[1]
_REAL_DATA = "PYTEST_REAL_DATA"
"""Takes the place of CNNCLI_DATA, for the processes of pytest-xdist."""
DATA_DIR = Path(os.environ.pop("CNNCLI_DATA", "") or os.environ.get(_REAL_DATA) or CHECKOUT / "data").resolve()
"""Removed from the environment, so that a test that runs a command does not find real data by accident."""
os.environ[_REAL_DATA] = str(DATA_DIR)
for _variable in ("CNNCLI_OUT", "CNNCLI_DEVICE", "CNNCLI_THREADS"):
    os.environ.pop(_variable, None)

RAW_FOLDERS = ("MNIST/raw", "FashionMNIST/raw")
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

if "PYTEST_XDIST_WORKER" in os.environ:  # several processes of tests share the cores
    torch.set_num_threads(1)

# The duration of an example depends on the machine more than on the code.
settings.register_profile("cnncli", deadline=None)
settings.load_profile("cnncli")


POSIX_ONLY = re.compile(
    r"^import (pexpect|pty|resource)$|^from tests\.(forked|reliability\.runs) import|signal\.SIG(HUP|KILL|QUIT|PIPE)",
    re.MULTILINE,
)


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """On Windows, leave out test files that use pseudo-terminals, forked processes or signals that it does not have."""
    if sys.platform != "win32" or collection_path.suffix != ".py" or collection_path == Path(__file__):
        return None
    return POSIX_ONLY.search(collection_path.read_text(encoding="utf-8")) is not None or None


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Everything that is imported and collected stays: the garbage collector need not examine it, now or later."""
    with garbage_collector_off():
        return (yield)


def find_real_data() -> Path:
    missing = [folder for folder in RAW_FOLDERS if not (DATA_DIR / folder).is_dir()]
    if missing:
        pytest.skip(f"no {' and no '.join(missing)} in {DATA_DIR} (set CNNCLI_DATA)")
    return DATA_DIR


def find_chromium() -> Path:
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(f"none of {', '.join(BROWSERS)} is installed")
    return Path(found)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("real_data"):
        find_real_data()
    if item.get_closest_marker("browser"):
        find_chromium()


@pytest.fixture(scope="session", autouse=True)
def unsynced() -> Iterator[None]:
    """Files of tests need not outlast a power cut: waiting for the disk would take longer than a training."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", os.fstat)  # which takes only open files, too
        yield


@pytest.fixture(scope="session")
def real_data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for `--data-dir` with links to the real MNIST and Fashion-MNIST: nothing is written beside those."""
    found = find_real_data()
    linked = tmp_path_factory.mktemp("data")
    for folder in RAW_FOLDERS:
        (linked / folder).parent.mkdir()
        (linked / folder).symlink_to(found / folder, target_is_directory=True)
    return linked


@pytest.fixture(scope="session")
def chromium() -> Path:
    """The system's Chromium."""
    return find_chromium()


@pytest.fixture(scope="session")
def browser(chromium: Path) -> Iterator[Browser]:
    """A headless Chromium for all tests: Playwright allows one event loop in a process."""
    flags = [
        *("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"),
        *("--disable-sync", "--no-first-run"),
    ]
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=flags)
        yield started
        started.close()


@pytest.fixture(scope="session")
def tabs(browser: Browser) -> Tabs:
    """Pages that are used again; they are closed with the browser."""
    return Tabs(browser)


@pytest.fixture(scope="session")
def build_once(tmp_path_factory: pytest.TempPathFactory) -> BuildOnce:
    """Make a folder that all processes of pytest-xdist share, for reading only: its name, what fills it -> its path."""
    own = tmp_path_factory.getbasetemp()
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own

    def build(name: str, fill: Callable[[Path], object]) -> Path:
        folder, complete = shared / name, shared / f"{name}.complete"
        with FileLock(f"{folder}.lock"):
            if not complete.exists():
                shutil.rmtree(folder, ignore_errors=True)  # a test of another process was stopped meanwhile
                folder.mkdir()
                fill(folder)
                complete.touch()
        return folder

    return build


@pytest.fixture(scope="session")
def exit_code_of() -> ExitCodeOf:
    """Run the program in this process: arguments -> exit code."""

    def run(*arguments: object) -> int:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", ["cnncli", *map(str, arguments)])
            with pytest.raises(SystemExit) as ended:
                main()
        code = ended.value.code
        assert code is None or isinstance(code, int), f"{code} is a message, not a code"
        return code or 0

    return run


@pytest.fixture
def undiverging() -> Decode:
    """Colors (..., 3) and the printed limit -> values (...): blue is negative, green tells magnitude."""

    def decode(pixels: npt.NDArray[np.uint8], limit: float) -> npt.NDArray[np.float64]:
        red, green, blue = (pixels[..., channel].astype(float) for channel in range(3))
        positive: Any = np.interp(green, (16, 128, 247), (1.0, 0.5, 0.0))
        negative: Any = np.interp(green, (58, 158, 247), (-1.0, -0.5, 0.0))
        values: npt.NDArray[np.float64] = np.where(red >= blue, positive, negative) * limit
        return values

    return decode


@pytest.fixture
def unsequential() -> Decode:
    """Colors (..., 3) and the printed upper end -> values (...): green rises with the value."""

    def decode(pixels: npt.NDArray[np.uint8], high: float) -> npt.NDArray[np.float64]:
        green = pixels[..., 1].astype(float)
        values: npt.NDArray[np.float64] = np.interp(green, (16, 66, 132, 192, 242), (0, 0.25, 0.5, 0.75, 1)) * high
        return values

    return decode
