"""The unit tests of the report's JavaScript, and how its modules become one script."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from cnncli.report import page
from cnncli.report.page import bundle

TESTS = Path(__file__).parents[1] / "js"


def test_unit_tests_in_javascript() -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    files = sorted(TESTS.glob("*.test.js"))
    assert files
    all_in_one = "".join(f"import {json.dumps(file.as_uri())};\n" for file in files)
    command = [node, "--input-type=module"]  # `node --test` starts a process for each file
    done = subprocess.run(command, input=all_in_one, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(re.findall(r"^# pass (\d+)$", done.stdout, re.MULTILINE)[0]) >= len(files)


def test_a_bundle_runs_every_module_once_after_those_it_imports(monkeypatch: pytest.MonkeyPatch) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    sources = {
        "x/a.js": 'import { b } from "./b.js";\nimport {\n  c,\n  D,\n} from "../y/c-d.js";\n'
        "// A comment.\n/**\n * Another * one.\n */\nconst own = 'a'; // kept\n"
        "console.log(own, b(), c, new D().name, [...e()]);\n",
        "x/b.js": 'import { c } from "../y/c-d.js";\n\nexport function b() {\n  return own + c;\n}\nconst own = "b";\n',
        "y/c-d.js": "console.log('c-d');\nexport const c = 1;\nexport class D {\n  name = own;\n}\nconst own = 'd';\n"
        "export function* e() {\n  yield 2;\n}\n",
    }
    sources["x/a.js"] = sources["x/a.js"].replace("  D,", "  D,\n  e,")
    monkeypatch.setattr(page, "_asset", sources.__getitem__)
    assert re.findall("comment|Another|kept", bundle("x/a.js")) == ["kept"]
    done = subprocess.run([node], input=bundle("x/a.js"), capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("c-d\na b1 1 d [ 2 ]\n", "")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ('import { a } from "./a.js";\n', "circular import: a.js -> a.js"),
        ('import { b } from "./b.js"\n', "another form"),
        ("export default function () {}\n", "another form"),
        ("export { a };\n", "another form"),
    ],
)
def test_what_a_bundle_cannot_hold(source: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "_asset", {"a.js": source}.__getitem__)
    with pytest.raises(AssertionError, match=re.escape(message)):
        bundle("a.js")
