"""Text from outside cannot steer a terminal: control characters and invisible ones are shown as escapes."""

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console
from rich.live import Live
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from cnncli.cli.render.console import SafeConsole
from cnncli.drawing.canvas import Canvas
from cnncli.printable import printable
from tests.conftest import ExitCodeOf
from tests.reliability.conftest import Outcomes

ESC, CR, RLO, ZWSP, CSI = "\x1b", "\r", "\u202e", "\u200b", "\x9b"
HOSTILE = f"a{ESC}[31mb{ESC}]0;title\x07c{CR}d{RLO}e{ZWSP}f{CSI}1mg\x00"
UNWANTED = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff]")


def test_printable() -> None:
    """Escapes as in Python's strings; letters of all languages, emoji and ends of lines stay."""
    assert printable(f"a{ESC}[31m{CR}{RLO}\U000e0041\x7f\x85\udcff\t") == (
        "a\\x1b[31m\\x0d\\u202e\\U000e0041\\x7f\\x85\\udcff\\x09"
    )
    kept = "lenet5 卷积核 Größe ✓ 🙂 é\n\u3000"
    assert printable(kept) == kept


def test_every_unprintable_character_is_escaped() -> None:
    """Unicode's own categories are the oracle: controls, formats, surrogates, separators of lines and paragraphs."""
    import unicodedata

    visible_formats = {*range(0x0600, 0x0606), 0x06DD, 0x070F, 0x0890, 0x0891, 0x08E2, 0x110BD, 0x110CD}
    for code in range(sys.maxunicode + 1):
        category, known = unicodedata.category(chr(code)), code in visible_formats or chr(code) == "\n"
        joins_scripts = 0x13430 <= code <= 0x1345F or 0x1BCA0 <= code <= 0x1BCA3 or 0x1D173 <= code <= 0x1D17A
        if category in ("Cc", "Cf", "Cs", "Zl", "Zp") and not known and not joins_scripts:
            assert printable(chr(code)) != chr(code), hex(code)
        elif category[0] in "LNPSM":
            assert printable(chr(code)) == chr(code), hex(code)


def test_console(capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever is printed: text, tables, progress, live displays, with the styles of rich only."""
    console = SafeConsole(force_terminal=True, color_system=None, legacy_windows=False)
    table = Table(HOSTILE)
    table.add_row(Text(HOSTILE))
    for each in (HOSTILE, Text(HOSTILE), table):
        console.print(each, markup=False)
    shown = capsys.readouterr().out
    assert not UNWANTED.search(shown), repr(shown)
    assert "\\x1b[31m" in shown
    with Progress(console=console) as progress, Live(Text(HOSTILE), console=Console(file=sys.stderr)):
        progress.add_task(HOSTILE)
    shown = capsys.readouterr().out
    own = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", shown)  # cursor movements
    assert "\\x1b[31m" in own
    assert not UNWANTED.search(own), repr(own)


def hostile_config() -> str:
    escaped = '"a\\e[31mb\\rc\\u202ed\\x9be"'
    return (
        f"data: {{name: {escaped}}}\n{escaped}: 3\nmodel:\n  layers:\n    - {escaped}\n"
        f"    - conv: {{out_channels: {escaped}, kernel_size: 3, name: {escaped}, {escaped}: 2}}\n    - logits\n"
    )


def test_commands(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    exit_code_of: ExitCodeOf,
    capsys: pytest.CaptureFixture[str],
    outcomes: Outcomes,
) -> None:
    """Configs, options, names of files, of folders and of commands, in results and in errors."""
    monkeypatch.chdir(tmp_path)
    Path("hostile.yaml").write_text(hostile_config(), encoding="utf-8")
    name = f"a{ESC}[31mb{RLO}.yaml"
    Path(name).write_text("data: {name: digits}\nmodel: {layers: [flatten, logits]}\n", encoding="utf-8")
    images = Path("images")
    for folder in (f"c{ESC}[31mred", "d"):
        (images / folder).mkdir(parents=True)
    folder_config = f"data: {{name: image-folder, path: {images}, size: 8}}\nmodel: {{layers: [flatten, logits]}}\n"
    Path("folder.yaml").write_text(folder_config, encoding="utf-8")
    hidden = HOSTILE.replace("\x00", "")
    commands = [
        ["validate", "hostile.yaml"],
        ["validate", name, "folder.yaml"],
        ["inspect", name],
        ["inspect", name, "--format", "markdown"],
        ["inspect", "lenet5", "--set", f"data=={hidden}"],
        ["inspect", "lenet5", "--set", f"data.name={hidden}"],
        ["inspect", "lenet5", "--input", hidden],
        ["inspect", "lenet5", "--batch", hidden],
        ["inspect", f"torchvision:{hidden}"],
        ["inspect", hidden],
        ["inspect", f"--{hidden}"],
        ["inspect", "lenet5", "--kwargs", hidden],
        ["diff", name, "lenet5"],
        ["show", hidden],
        ["runs", "show", hidden],
        ["runs", hidden],
        ["train", "folder.yaml", "--data-dir", "."],
        ["train", "lenet5", "--epochs", hidden],
        ["explain", hidden],
        ["explain", "convolution", "--input", hidden],
        [hidden],
        ["init", f"x{ESC}[31my{CR}"],
        ["unit", name, hidden, "1,1"],
    ]
    for arguments in commands:
        exit_code_of(*arguments)
        out, err = capsys.readouterr()
        assert not UNWANTED.search(out + err), (arguments, (out + err)[-2000:])
        assert out + err, arguments
        outcomes.add("terminal escapes in a text from outside", "shown escaped")


@pytest.mark.slow
def test_in_a_terminal(tmp_path: Path, outcomes: Outcomes) -> None:
    """In a real terminal, only the styles of the program come through: no other sequence, and no name as it is."""
    (tmp_path / "hostile.yaml").write_text(hostile_config(), encoding="utf-8")
    for arguments in (["validate", "hostile.yaml"], ["inspect", "lenet5", "--set", f"data=={HOSTILE[:-1]}"]):
        parent, child = pty.openpty()
        environment = {key: value for key, value in os.environ.items() if key != "NO_COLOR"} | {
            "TERM": "xterm-256color"
        }
        program = subprocess.Popen(
            [sys.executable, "-m", "cnncli", *arguments], cwd=tmp_path, stdout=child, stderr=child, env=environment
        )
        os.close(child)
        shown = b""
        try:
            while block := os.read(parent, 65536):
                shown += block
        except OSError:  # the end of a terminal
            pass
        program.wait()
        text = re.sub(r"\x1b\[(0|1|31|36|1;31)m", "", shown.decode()).replace("\r\n", "\n")
        assert "\\x1b[31m" in text
        assert not UNWANTED.search(text), repr(text)
        outcomes.add("terminal escapes in a text from outside", "shown escaped")


def test_pictures() -> None:
    """A caption is drawn with its escapes; in SVG it is text."""
    canvas = Canvas(width=200, height=20)
    canvas.text(0, 0, HOSTILE, width=1000)
    assert "\\x1b[31m" in canvas.svg(title="x")
    assert not UNWANTED.search(canvas.svg(title="x"))


def test_names_of_class_folders_are_text(
    tmp_path: Path, exit_code_of: ExitCodeOf, capsys: pytest.CaptureFixture[str], outcomes: Outcomes
) -> None:
    """A folder whose name is not UTF-8 is refused by its name: it could not be written to the files of a run."""
    try:
        for name in (b"cat\xff", b"dog"):
            os.makedirs(os.fsencode(tmp_path / "images") + b"/" + name)  # noqa: PTH103  bytes
    except OSError:
        pytest.skip("the file system has only names of text")
    config = tmp_path / "folder.yaml"
    config.write_text("data: {name: image-folder, path: images, size: 8}\nmodel: {layers: [flatten, logits]}\n")
    assert exit_code_of("validate", str(config), "--data-dir", str(tmp_path)) == 4
    error = capsys.readouterr().err
    assert "cat\\udcff is not UTF-8 text" in error
    assert "rename" in error
    outcomes.add("a class folder whose name is not UTF-8", "refused, exit 4")
