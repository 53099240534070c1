"""Every output in the lesson, in English and in Chinese, is what the command prints.

`CNNCLI_REWRITE=1 pytest tests/cli/test_lesson.py` updates the outputs.
"""

import doctest
import os
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from cnncli.lessons import LECTURE

DOCS = Path(__file__).resolve().parents[2] / "docs"
LESSONS = (DOCS / "lesson.md", DOCS / "lesson.zh-CN.md")
REWRITE = os.environ.get("CNNCLI_REWRITE") == "1"

Run = Callable[..., tuple[int, str, str]]

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

TOPICS = tuple(topic.name for topic in LECTURE)


def blocks(path: Path, language: str) -> list[str]:
    return [text for each, text in BLOCK.findall(path.read_text(encoding="utf-8")) if each == language]


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.name)
def test_python_examples(lesson: Path) -> None:
    runner = doctest.DocTestRunner()
    names: dict[str, object] = {}
    examples = blocks(lesson, "python")
    assert len(examples) == 5
    for text in examples:
        test = doctest.DocTestParser().get_doctest(text, names, lesson.name, str(lesson), 0)
        runner.run(test, clear_globs=False)
        names = test.globs
    assert runner.summarize().failed == 0
    assert runner.summarize().attempted >= 15


def test_outputs_of_commands(run_cnncli: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    outputs = {topic: printed_by(run_cnncli, f"cnncli explain {topic}") for topic in TOPICS}
    for lesson in LESSONS:
        text = lesson.read_text(encoding="utf-8")
        expected = text
        for topic, output in outputs.items():
            block = re.compile(rf"^```console\n\$ cnncli explain {topic}\n.*?^```$", re.MULTILINE | re.DOTALL)
            (printed,) = block.findall(expected)
            expected = expected.replace(printed, f"```console\n$ cnncli explain {topic}\n{output}```")
        if REWRITE:
            lesson.write_text(expected, encoding="utf-8")
            continue
        assert text == expected
        assert len(blocks(lesson, "console")) == len(TOPICS)


def test_commands_about_a_trained_network(run_cnncli: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ((commands,), (same,)) = (blocks(lesson, "sh") for lesson in LESSONS)
    assert commands == same
    first, *others = commands.splitlines()
    training = re.fullmatch(r"run=\$\((.*)\)", first)
    assert training
    run = printed_by(run_cnncli, training[1]).strip()
    for command in others:
        assert printed_by(run_cnncli, command.replace("$run", run))


def printed_by(run_cnncli: Run, command: str) -> str:
    program, *arguments = shlex.split(command)
    assert program == "cnncli"
    code, out, err = run_cnncli(*arguments)
    assert code == 0, err
    return out
