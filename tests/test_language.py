"""The language of docstrings, help texts and messages: no openings that make readers stumble, plain ASCII in print."""

from __future__ import annotations

import ast
import re
from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path

import pytest

from refca import __main__ as overview
from refca import evaluate, playground, predict, robustness, train

ROOT = Path(__file__).parents[1]
FOLDERS = ("refca", "backends", "spec/refca_spec", "tools", "benchmarks", "tests")
FILES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
OPENINGS = (
    *("What", "How", "Which", "Where", "When", "Whether", "Who", "Why", "That of", "Those", "These", "Of", "As", "If"),
    *("But", "And", "There", "It", "Returns", "Raises", "Makes", "Has"),
)
OPENING = re.compile(rf"({'|'.join(OPENINGS)})\b")
MARKDOWN = ("tools", "tests")  # folders whose strings are written into pages, or never printed
PROGRAMS = {"refca": overview, "train": train, "evaluate": evaluate, "robustness": robustness}
PROGRAMS |= {"predict": predict, "playground": playground}


def docstrings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield the line and the text of each docstring."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text:
                yield node.body[0].lineno, text


def strings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield the line and the text of each string that is no docstring: any of them may be printed."""
    documentation = {
        id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation:
            yield node.lineno, node.value


def texts(parser: ArgumentParser) -> Iterator[str]:
    """Yield the texts that --help shows."""
    yield from filter(None, (parser.description, parser.epilog))
    for group in parser._action_groups:
        yield from filter(None, (group.title, group.description))
    for action in parser._actions:
        if action.help:
            yield action.help


def faults(files: list[Path]) -> list[str]:
    """Return a line for each docstring and message of these files that breaks a rule."""
    found = []
    for path in files:
        tree = ast.parse(path.read_text("utf-8"))
        where = path.relative_to(ROOT) if path.is_relative_to(ROOT) else Path(path.name)
        for line, text in docstrings(tree):
            first = text.splitlines()[0]
            if OPENING.match(first):
                found.append(f"{where}:{line}: a docstring begins with {first.split()[0]!r}: {first}")
        if where.parts[0] not in MARKDOWN:
            faulty = [(line, text) for line, text in strings(tree) if not text.isascii()]
            found += [f"{where}:{line}: a string is not ASCII: {text!r}" for line, text in faulty]
    return found


def test_docstrings_and_messages_keep_the_rules() -> None:
    found = faults(FILES)
    assert not found, "\n".join(["", *found])


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_keeps_the_rules(program: str) -> None:
    for text in texts(PROGRAMS[program].parser()):
        assert text.isascii(), text
        assert not OPENING.match(text), text


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ('"""What a cell sees."""', "a docstring begins with 'What'"),
        ('def f():\n    """That of any other cell."""', "a docstring begins with 'That'"),
        ('raise InvalidInput(f"{size}×{size}")', "a string is not ASCII: '×'"),
        ('p.add_argument("--x", help="±1")', "a string is not ASCII"),
    ],
)
def test_a_text_that_breaks_a_rule_is_found(source: str, what: str, tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(source, "utf-8")
    assert len(found := faults([tmp_path / "a.py"])) == 1
    assert what in found[0]


def test_a_text_that_keeps_the_rules_is_not_found(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text('"""The state after one step, (B, H, W, D)."""\nprint("48x48")  # ×\n', "utf-8")
    assert not faults([tmp_path / "a.py"])
