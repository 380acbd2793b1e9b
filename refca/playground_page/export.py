"""The page as one file that needs no server: modules in one script, files as base64, a security policy by hash.

Browsers do not load modules from `file://`, so each module becomes a function that returns its exports. The
sources keep to what that needs: imports and exports of names, at the start of a line.
"""

from __future__ import annotations

import base64
import hashlib
import json
import posixpath
import re
from collections.abc import Mapping
from pathlib import Path

from refca.atomic import atomic_write

IMPORT = re.compile(r'^import (?:(\{[^}]*\}) from )?"(\.[^"]+)";\n', re.MULTILINE)
REEXPORT = re.compile(r'^export \{([^}]*)\} from "(\.[^"]+)";\n', re.MULTILINE)
EXPORT = re.compile(r"^export (async function|function|class|const|let) (\w+)", re.MULTILINE)
ENTRY = "main.js"


def export(path: Path, page: Mapping[str, bytes]) -> None:
    """Write the page to one file, whole or not at all."""
    with atomic_write(path) as temporary:
        temporary.write_text(one_file(page), "utf-8")


def one_file(page: Mapping[str, bytes]) -> str:
    """Return the page as one HTML text."""
    html = page["index.html"].decode()
    style = page["style.css"].decode()
    script = bundle(page)
    icon = "data:image/svg+xml;base64," + base64.b64encode(page["icon.svg"]).decode()
    data = {
        name: base64.b64encode(content).decode()
        for name, content in page.items()
        if name.endswith((".json", ".safetensors", ".jpg")) and not name.startswith("engine/")
    }
    policy = (
        f"default-src 'none'; script-src '{integrity(script)}' 'wasm-unsafe-eval'; "
        f"style-src '{integrity(style)}'; img-src data: blob:; media-src blob:; base-uri 'none'; form-action 'none'"
    )
    replacements = {
        '<meta charset="utf-8" />': '<meta charset="utf-8" />\n'
        f'    <meta http-equiv="Content-Security-Policy" content="{policy}" />',
        '<link rel="icon" href="icon.svg" type="image/svg+xml" />': f'<link rel="icon" href="{icon}" />',
        '<link rel="stylesheet" href="style.css" />': f"<style>{style}</style>",
        '<script type="module" src="main.js"></script>': "",
        "</body>": f'<script type="application/json" id="embedded">{json.dumps(data)}</script>\n'
        f'<script type="module">{script}</script>\n  </body>',
    }
    for old, new in replacements.items():
        assert html.count(old) == 1, old
        html = html.replace(old, new)
    return html


def integrity(text: str) -> str:
    """Return the hash of an inline script or style as a security policy names it."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def bundle(page: Mapping[str, bytes]) -> str:
    """Return all modules that the entry needs as one script, each after those that it imports."""
    done: dict[str, str] = {}
    visit(page, ENTRY, done)
    script = "\n".join(done.values())
    assert "</script" not in script
    return script


def visit(page: Mapping[str, bytes], name: str, done: dict[str, str]) -> None:
    """Add a module to `done`, after those that it imports."""
    if name in done:
        return
    source = page[name].decode()
    for match in [*IMPORT.finditer(source), *REEXPORT.finditer(source)]:
        visit(page, resolve(name, match[2]), done)
    done[name] = wrapped(name, source)


def wrapped(name: str, source: str) -> str:
    """Return a module as a constant whose value is its exports."""
    names = [match[2] for match in EXPORT.finditer(source)]
    for match in REEXPORT.finditer(source):
        names += [each.strip() for each in match[1].split(",")]
    source = REEXPORT.sub(lambda m: f"const {{{m[1]}}} = {variable(resolve(name, m[2]))};\n", source)
    source = IMPORT.sub(
        lambda m: f"const {m[1].replace(' as ', ': ')} = {variable(resolve(name, m[2]))};\n" if m[1] else "", source
    )
    source = EXPORT.sub(r"\1 \2", source)
    starts = "await (async () => {" if name == ENTRY else "(() => {"
    return f"const {variable(name)} = {starts}\n{source}\nreturn {{ {', '.join(names)} }};\n}})();"


def resolve(name: str, address: str) -> str:
    """Return the path of a module that another one imports."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(name), address))


def variable(name: str) -> str:
    """Return the constant that holds a module's exports."""
    return "module_" + re.sub(r"\W", "_", name.removesuffix(".js"))
