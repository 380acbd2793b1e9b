"""The site: it builds, its links and anchors resolve, it asks no other host, and axe finds nothing serious."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from html import unescape
from pathlib import Path
from posixpath import dirname, join, normpath
from urllib.parse import unquote

import pytest
from chromium import browser, node_test
from filelock import FileLock

ROOT = Path(__file__).parents[1]
CONFIGURATION = ROOT / "tools" / "site" / "mkdocs.yml"
TAG = re.compile(r"<(\w+)((?:\s+[\w:-]+(?:=\"[^\"]*\"|='[^']*'|=[^\s>]*)?)*)\s*/?>")
ATTRIBUTE = re.compile(r"([\w:-]+)(?:=(?:\"([^\"]*)\"|'([^']*)'|([^\s>]*)))?")
EMBEDDED = "playground_page.html"  # one file with scripts in it, tested by test_playground.py
FETCHED = {("script", "src"), ("img", "src"), ("iframe", "src"), ("source", "srcset"), ("link", "href")}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built from the checkout without running a lesson."""
    for package in ("mkdocs", "material", "mkdocstrings", "jupytext"):
        pytest.importorskip(package)
    if not (ROOT / ".git").exists():
        pytest.skip("the site is built from a checkout of git")
    base = tmp_path_factory.getbasetemp()
    base = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base  # one site for all processes
    folder = base / "site"
    with FileLock(base / "site.lock"):
        if not folder.exists():
            command = [
                sys.executable,
                "-m",
                "mkdocs",
                "build",
                "--quiet",
                "-f",
                str(CONFIGURATION),
                "-d",
                str(base / "half"),
            ]
            run = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"})
            assert run.returncode == 0, run.stdout + run.stderr
            (base / "half").rename(folder)
    return folder


@cache
def tags(page: Path) -> list[tuple[str, dict[str, str]]]:
    """The tags of a page and their attributes."""
    html = re.sub(r"<script\b(?![^>]*\bsrc=).*?</script>|<!--.*?-->", "", page.read_text("utf-8"), flags=re.DOTALL)
    return [
        (name, {key: unescape(a or b or c) for key, a, b, c in ATTRIBUTE.findall(attributes)})
        for name, attributes in TAG.findall(html)
    ]


@cache
def anchors(page: Path) -> set[str]:
    return {"", *(value for _, found in tags(page) for key, value in found.items() if key in ("id", "name"))}


def pages(site: Path) -> Iterator[tuple[str, list[tuple[str, dict[str, str]]]]]:
    """Each page by its address, and its tags."""
    for page in sorted(site.rglob("*.html")):
        if page.name != EMBEDDED:
            yield page.relative_to(site).as_posix(), tags(page)


def test_every_link_and_anchor_leads_somewhere(site: Path) -> None:
    wrong: list[str] = []
    count = 0
    for address, found in pages(site):
        if address == "404.html":  # its links start at the root, wherever it is shown
            continue
        for link in {found[key] for _, found in found for key in ("href", "src", "srcset") if key in found}:
            if re.match(r"[a-z]+:", link):
                continue
            count += 1
            file, _, anchor = link.partition("#")
            target = site / normpath(join(dirname(address), unquote(file))) if file else site / address
            if not target.is_file():
                wrong.append(f"{address}: {link} does not exist")
            elif target.suffix == ".html" and unquote(anchor) not in anchors(target):
                wrong.append(f"{address}: {link} has no such anchor")
    assert not wrong, "\n".join(wrong[:40])
    assert count > 1000


def test_no_page_asks_another_host_for_anything(site: Path) -> None:
    for address, found in pages(site):
        for name, attributes in found:
            for key, value in attributes.items():
                if (name, key) in FETCHED and attributes.get("rel") != "canonical":
                    assert not re.match(r"(https?:)?//", value), f"{address}: {name} {key}={value}"
    for style in site.rglob("*.css"):
        assert not re.search(r"(url\(|@import )[\"']?(https?:)?//", style.read_text("utf-8")), style


def test_every_picture_is_described(site: Path) -> None:
    for address, found in pages(site):
        for name, attributes in found:
            if name == "img":
                assert attributes.get("alt", "").strip(), f"{address}: {attributes}"
            if name == "iframe":
                assert attributes.get("title"), f"{address}: {attributes}"


def test_constraints_lead_to_their_laws_and_back(site: Path) -> None:
    for chapter in sorted((ROOT / "spec" / "chapters").glob("*.md")):
        numbers = re.findall(r"^- \(C(\d+)\) ", chapter.read_text("utf-8"), re.MULTILINE)
        page = (site / "spec" / "chapters" / f"{chapter.stem}.html").read_text("utf-8")
        laws = (site / "spec" / "refca_spec" / "laws" / f"test_{chapter.stem}.py.html").read_text("utf-8")
        for number in numbers:
            item = re.search(rf'<li>(?:<p>)?<a id="c{number}">.*?</li>', page, re.DOTALL)
            assert item, f"{chapter.stem} has no C{number}"
            links = re.findall(r'href="[^"]*test_\w+\.py\.html#(__codelineno-0-\d+)"', item[0])
            assert links, f"{chapter.stem} C{number} leads to no law"
            for line in links:
                assert re.search(rf'id="{line}".*?test_{chapter.stem}_c{number}_', laws), f"{chapter.stem} C{number}"
            assert f'chapters/{chapter.stem}.html#c{number}"' in laws, f"no law leads to {chapter.stem} C{number}"


def test_ten_pages_and_the_search_in_a_browser(site: Path) -> None:
    browser()
    node_test("site.test.mjs", REFCA_SITE=site.as_uri() + "/")
