"""The unit tests of the report's JavaScript, and how its modules become one script."""

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
    done = subprocess.run([node, "--test", *files], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_bundle_has_every_module_once_after_those_it_imports(monkeypatch: pytest.MonkeyPatch) -> None:
    sources = {
        "x/a.js": 'import { b } from "./b.js";\nimport {\n  c,\n  d,\n} from "../y/c-d.js";\nb(c, d);\n',
        "x/b.js": 'import { c } from "../y/c-d.js";\n\nexport function b() {}\nconst text = "export const c";\n',
        "y/c-d.js": "export const c = 1;\nexport class d {}\n",
    }
    monkeypatch.setattr(page, "_asset", sources.__getitem__)
    script = bundle("x/a.js")
    assert re.sub(r"\n+", "\n", script) == (
        'const c = 1;\nclass d {}\nfunction b() {}\nconst text = "export const c";\nb(c, d);\n'
    )


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ('import { a } from "./a.js";\n', "circular import: a.js -> a.js"),
        ('import { b as c } from "./b.js"\n', "another form"),
        ("export default function () {}\n", "another form"),
        ("export { a };\n", "another form"),
    ],
)
def test_what_a_bundle_cannot_hold(source: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "_asset", {"a.js": source}.__getitem__)
    with pytest.raises(AssertionError, match=re.escape(message)):
        bundle("a.js")


@pytest.mark.parametrize(("entry", "name"), [("report/report.js", "ReceptiveFields"), ("engine/worker.js", "Network")])
def test_no_name_is_defined_in_two_modules(entry: str, name: str) -> None:
    names = re.findall(r"^(?:async )?(?:class|const|let|function\*?) (\w+)", bundle(entry), re.MULTILINE)
    assert name in names
    assert sorted(names) == sorted(set(names))
