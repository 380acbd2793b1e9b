"""The links of a page: to files and folders, between constraints and laws, and to decisions.

Everything here is text in, text out. Links are written as in the repository and end as the site's addresses.
"""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import PurePosixPath
from posixpath import relpath

from repository import Repository

DECISIONS = "spec/decisions.md"
CHAPTERS = "spec/chapters"
LAWS = "spec/refca_spec/laws"
LAW = re.compile(r"^def (test_(\w+?)_c(\d+)_\w+)\(", re.MULTILINE)
CONSTRAINT = re.compile(r"^- \(C(\d+)\) (.*?)(?=\n- |\n\n|\Z)", re.MULTILINE | re.DOTALL)
TOKEN = re.compile(
    r"(?P<fence>^(?P<indent> *)(?P<ticks>`{3,}).*?^ *(?P=ticks) *$)"
    r"|(?P<block>(?:^ {4}[^\n]*\n)+)"
    r"|(?P<cited>`\w+`\s+\(C\d+\)(?:,\s+\(C\d+\))*)"
    r"|(?P<code>(?P<quote>`+)[^`]+(?P=quote))"
    r"|(?P<link>!?\[(?:[^\[\]`]|`[^`]*`)*\]\((?P<target>[^()\s]+)\))"
    r"|(?P<html><[^>\n]+>)",
    re.MULTILINE | re.DOTALL,
)


class Linker:
    """Rewrites the links of pages, given the files, laws and decisions of a repository."""

    def __init__(self, repository: Repository) -> None:
        self.repository = repository

    @cached_property
    def laws(self) -> dict[tuple[str, str], list[tuple[str, int]]]:
        """The laws of each constraint, ("step", "3"): their names and lines."""
        found: dict[tuple[str, str], list[tuple[str, int]]] = {}
        for path in self.repository.paths:
            if path.startswith(LAWS):
                text = self.repository.text(path)
                for law in LAW.finditer(text):
                    line = text.count("\n", 0, law.start()) + 1
                    found.setdefault((law[2], law[3]), []).append((law[1], line))
        return found

    @cached_property
    def decisions(self) -> set[str]:
        """The decisions, "D1" and so on."""
        return set(re.findall(r"^\*\*(D\d+)\.", self.repository.text(DECISIONS), re.MULTILINE))

    def page(self, path: str, text: str) -> str:
        """Return the Markdown of a page of the repository with all links as the site needs them."""
        if PurePosixPath(path).parent == PurePosixPath(CHAPTERS):
            text = self.constraints(PurePosixPath(path).stem, text)
        pieces, end = [], 0
        for token in TOKEN.finditer(text):
            pieces += [self.prose(path, text[end : token.start()]), self.token(path, token)]
            end = token.end()
        return "".join([*pieces, self.prose(path, text[end:])])

    def constraints(self, chapter: str, text: str) -> str:
        """Give each constraint of a chapter an anchor, and links to its laws."""

        def linked(match: re.Match[str]) -> str:
            number, words = match.groups()
            laws = self.laws.get((chapter, number), [])
            names = [name.partition(f"_c{number}_")[2].replace("_", " ") for name, _ in laws]
            file = f"../refca_spec/laws/test_{chapter}.py"
            links = [f"[law: {name}]({file}#L{line}){{ .law }}" for name, (_, line) in zip(names, laws, strict=True)]
            return "\n  ".join([f'- <a id="c{number}"></a>[(C{number})](#c{number}) {words}', *links])

        return CONSTRAINT.sub(linked, text)

    def token(self, path: str, token: re.Match[str]) -> str:
        """Return a piece of Markdown that is no prose; only links and cited constraints change."""
        if token["link"]:
            return self.link(path, token[0], token["target"])
        if token["cited"]:
            return self.cited(path, token[0])
        return token[0]

    def link(self, path: str, link: str, target: str) -> str:
        """Return a Markdown link with the site's address, or as it is if it points out of the repository."""
        file, _, anchor = target.partition("#")
        if not file or ":" in file or (found := self.repository.resolve(path, file)) is None:
            return link
        anchor = re.sub(r"^L(\d+)$", r"__codelineno-0-\1", anchor)
        address = self.address(path, found) + (f"#{anchor}" if anchor else "")
        return link[: -len(target) - 1] + address + ")"

    def address(self, path: str, target: str) -> str:
        """Return the relative path, within the site's files, from a page to a file or folder of the repository."""
        places = self.repository.places
        return relpath(places[target], str(PurePosixPath(places.get(path, path)).parent))

    def cited(self, path: str, text: str) -> str:
        """Link a constraint that is cited by chapter and number: `step` (C6)."""
        chapter = f"{CHAPTERS}/{text[1:].partition('`')[0]}.md"
        if chapter not in self.repository.places:
            return text
        address = self.address(path, chapter)
        return re.sub(r"\(C(\d+)\)", rf"[(C\1)]({address}#c\1)", text)

    def prose(self, path: str, text: str) -> str:
        """Anchor decisions where they stand, link them elsewhere, and indent nested lists as Python-Markdown does."""
        text = re.sub(r"^ {2}(?=- )", "    ", text, flags=re.MULTILINE)
        if path == DECISIONS:
            text = re.sub(r"^\*\*D(\d+)\.", r'<a id="d\1"></a>\g<0>', text, flags=re.MULTILINE)
        elif not path.startswith(("spec/", "docs/", "results/")):
            return text
        page = self.address(path, DECISIONS)

        def linked(match: re.Match[str]) -> str:
            return f"[{match[0]}]({page}#{match[0].lower()})" if match[0] in self.decisions else match[0]

        return re.sub(r"(?<![\w*[])D\d+\b", linked, text)
