"""The events of MkDocs: which pages the site has, and what happens to each.

Pages stay where they are in the repository. `make site` puts everything into build/site.
"""

from __future__ import annotations

import re

from lesson_pages import lesson_page, notebook_file, read_lesson
from linking import CHAPTERS, Linker
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from navigation import navigation
from reference import INTRODUCTION, reference_page
from repository import LESSON, SHOWN, Repository
from sources import folder_page, source_page

REPOSITORY = Repository()
LINKER = Linker(REPOSITORY)
PATHS: dict[str, str] = {}  # of the repository, by page
INLINE = re.compile(r"<code>([\w./-]+)</code>(?!</a>)")
QUOTED = re.compile(r"`([\w./-]+\.\w+)`")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages and files of the repository, and set the navigation."""

    def add(place: str, content: str | bytes) -> None:
        files.append(File.generated(config, place, content=content))

    for path, place in REPOSITORY.places.items():
        if path in REPOSITORY.folders:
            if place.endswith("/index.md"):
                PATHS[place] = place
                add(place, folder_page(REPOSITORY, path))
            continue
        PATHS[place] = path
        if lesson := LESSON.fullmatch(path):
            notebook, executed = read_lesson(
                REPOSITORY.root / path, REPOSITORY.root / "build/lessons" / f"{lesson[1]}.ipynb"
            )
            markdown, pictures = lesson_page(lesson[1], notebook, executed)
            add(place, markdown)
            add(f"lessons/{lesson[1]}.ipynb", notebook_file(REPOSITORY.root / path))
            for name, picture in pictures.items():
                add(f"lessons/{name}", picture)
        elif path.endswith(SHOWN):
            add(place, source_page(REPOSITORY, path))
        else:
            files.append(File.generated(config, place, abs_src_path=str(REPOSITORY.root / path)))
    for name in INTRODUCTION:
        add(f"reference/{name}.md", reference_page(name))
    add("playground_page.html", playground())
    add("assets/labels.css", label_colours())
    config.nav = navigation(REPOSITORY, [file.src_uri for file in files.documentation_pages()])
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Give the links of a page the addresses of the site."""
    path = PATHS.get(page.file.src_uri)
    if path and path.startswith(CHAPTERS):
        page.meta["hide"] = ["toc"]  # formulas are wide
    return LINKER.page(path, markdown) if path else markdown


def on_page_content(html: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Link paths that stand in code, and laws to their constraints."""

    def address(path: str) -> str | None:
        bases = PATHS.get(page.file.src_uri, ""), "", "spec/README.md"
        target = next((found for base in bases if (found := REPOSITORY.resolve(base, path))), None)
        file = files.get_file_from_path(REPOSITORY.places[target]) if target else None
        return file.url_relative_to(page.file) if file and file is not page.file else None

    def linked(match: re.Match[str]) -> str:
        found = address(match[1]) if re.search(r"\.\w+$|/", match[1]) else None
        return f'<a href="{found}">{match[0]}</a>' if found else match[0]

    path = PATHS.get(page.file.src_uri, "")
    if not path.endswith(SHOWN):
        return INLINE.sub(linked, html)
    html = QUOTED.sub(linked, html)
    if "/laws/test_" in path:
        html = re.sub(r'(<span class="nf">)(test_(\w+?)_c(\d+)_\w+)(</span>)', law_link, html)
    return html


def law_link(match: re.Match[str]) -> str:
    """Return the name of a law as a link to its constraint."""
    opening, name, chapter, number, closing = match.groups()
    return f'{opening}<a href="../../chapters/{chapter}.html#c{number}">{name}</a>{closing}'


def on_post_page(html: str, *, page: Page, config: MkDocsConfig) -> str:
    """Name the search dialog, which Material leaves without a name."""
    return html.replace(
        'data-md-component="search" role="dialog"', 'data-md-component="search" role="dialog" aria-label="Search"'
    )


def playground() -> str:
    """Return the playground as one HTML file."""
    from refca.playground_page.catalogue import make_catalogue
    from refca.playground_page.export import one_file

    return one_file(make_catalogue([]))


def label_colours() -> str:
    """Return a style sheet with the label colours of the figures and the playground."""
    from refca.drawing.palette import DEFAULT

    colours = enumerate(DEFAULT.labels)
    return ":root {\n" + "".join(f"  --label-{i}: rgb({r} {g} {b});\n" for i, (r, g, b) in colours) + "}\n"
