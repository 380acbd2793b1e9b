"""Write `docs/scoreboard.md` from the reports in `results/scoreboard/` and the sentences in libraries.toml.

    python tools/scoreboard/page.py

Everything about which constraint holds, the case that breaks it, versions and dates comes from the kept reports.
"""

from __future__ import annotations

import dataclasses
import json
import re
import tomllib
from pathlib import Path
from typing import Any

from refca_spec.report import UNANSWERED
from refca_spec.strategies import Case

from refca import Cell

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
KEPT, PAGE = ROOT / "results" / "scoreboard", ROOT / "docs" / "scoreboard.md"
LEVELS = {"step": "Single steps", "evolve": "Evolutions", "gradients": "Gradients"}
MARKS = {"passed": "holds", "failed": "**broken**", **dict.fromkeys(UNANSWERED, "–")}
# Constraints that the wrapper around an adapter keeps: they say nothing about a library.
WRAPPER = {("backends", f"C{n}") for n in (1, 2, 7, 15, 16, 20, 21)}
WRAPPER |= {("recorded", f"C{n}") for n in (2, 3, 4, 5)} | {("readout", f"C{n}") for n in (5, 6)}

Key = tuple[str, str]  # chapter and constraint


@dataclasses.dataclass(frozen=True)
class Tried:
    """A configuration with its sentences, its report and its versions."""

    library: dict[str, Any]
    words: dict[str, Any]
    run: dict[str, Any]
    rows: dict[Key, dict[str, Any]]

    @property
    def title(self) -> str:
        return self.words["title"]

    def broken(self) -> set[Key]:
        """Return the constraints that the report calls broken."""
        return {key for key, row in self.rows.items() if row["status"] == "failed"}

    def mark(self, key: Key) -> str:
        """Return what the tables say about a constraint."""
        if key not in self.rows:
            return MARKS["not offered"]
        if key_name(key) in self.words.get("consequences", ()):
            return "in consequence"
        return MARKS[self.rows[key]["status"]]

    def count(self, level: str) -> str:
        """Return "15 of 17" for the constraints of a level that the configuration was tried on."""
        statuses = [row["status"] for key, row in self.rows.items() if row["level"] == level and about_cells(key)]
        asked = [status for status in statuses if status not in UNANSWERED]
        return f"{asked.count('passed')} of {len(asked)}" if asked else "–"


def about_cells(key: Key) -> bool:
    """Return whether a constraint is about what a library computes, not about the wrapper around it."""
    return key not in WRAPPER


def key_of(name: str) -> Key:
    """Return ("step", "C5") for "step C5"."""
    chapter, _, number = name.partition(" ")
    return chapter, number


def texts() -> dict[str, Any]:
    """Return the content of libraries.toml."""
    return tomllib.loads((HERE / "libraries.toml").read_text("utf-8"))


def key_name(key: Key) -> str:
    """Return "step C5" for ("step", "C5")."""
    return " ".join(key)


def libraries() -> list[dict[str, Any]]:
    """Return the entries of the libraries."""
    return texts()["libraries"]


def read(name: str, file: str) -> dict[str, Any]:
    return json.loads((KEPT / name / file).read_text("utf-8"))


def tried() -> list[Tried]:
    """Return every configuration that was tried."""
    found = []
    for library in libraries():
        for words in library.get("configurations", ()):
            rows = read(words["adapter"], "report.json")["constraints"]
            named = {(row["chapter"], row["constraint"]): row for row in rows}
            found.append(Tried(library, words, read(words["adapter"], "run.json"), named))
    return found


def short(call: str) -> str:
    """Return the call of a failing law with the settings left out that a cell has by default."""
    try:
        value = eval(call, {"Cell": Cell, "Case": Case})  # written by our own laws
    except Exception:
        return call
    return shortened(value)


def shortened(value: Any) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(map(shortened, value))})"
    if isinstance(value, Case):
        sizes = ", ".join(f"{name}={getattr(value, name)}" for name in ("B", "H", "W", "T", "seed"))
        return f"Case({shortened(value.cell)}, {sizes})"
    if isinstance(value, Cell):
        settings = [
            f"{field.name}={getattr(value, field.name)!r}"
            for field in dataclasses.fields(value)
            if getattr(value, field.name) != field.default
        ]
        return f"Cell({', '.join(settings)})"
    return repr(value)


def plain(message: str) -> str:
    """Return the message of a law with numbers as people write them."""
    message = re.sub(r"np\.(?:float32|float64|int64)\((.*?)\)", r"\1", message)
    return re.sub(r"np\.(True|False)_", r"\1", message).rstrip()


def table(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows))


def overview(found: list[Tried]) -> str:
    """Return the table with one row for each configuration."""
    rows = []
    for each in found:
        run, counts = each.run, [each.count(level) for level in LEVELS]
        differences = str(len(each.words.get("differences", ())))
        rows.append([each.title, f"{run['package']} {run['version']}", run["date"], differences, *counts])
    return table(["configuration", "package", "tried on", "differences", *(f"{level}: hold" for level in LEVELS)], rows)


def constraints(found: list[Tried], level: str) -> str:
    """Return the table of a level: a row for each constraint, a column for each configuration."""
    keys: dict[Key, str] = {}
    for each in found:
        for key, row in each.rows.items():
            if row["level"] == level and about_cells(key):
                keys[key] = row["text"]
    rows = []
    for key, text in keys.items():
        marks = [each.mark(key) for each in found]
        if set(marks) != {"–"}:
            rows.append([key_name(key), text.replace("|", "\\|"), *marks])
    return table(["", "constraint", *(each.title for each in found)], rows)


def difference(each: Tried, words: dict[str, Any]) -> str:
    """Return a difference: its sentence, and the laws' messages and cases that show it."""
    lines = [f"- **{words['sentence']}**"]
    for name in words["shown_by"]:
        failure = each.rows[key_of(name)]["failures"][0]
        lines.append(f"  - {name}: {plain(failure['message'])}")
        if "case" in failure:
            lines.append(f"  - `{short(failure['case'])}`")
    return "\n".join(lines)


def published(each: Tried) -> str:
    """Return a sentence on the article's own steps with the article's own weights."""
    row = each.rows[("distill", "C1")]
    if row["status"] == "passed":
        return "With the article's published weights, it follows the article's four published steps."
    if row["status"] == "failed":
        message = plain(row["failures"][0]["message"]).partition(" assert ")[0]
        return f"With the article's published weights, it does not follow the article's published steps: {message}."
    return "The article's published steps were not tried: they have noise, which this configuration lacks."


def section(library: dict[str, Any], found: list[Tried]) -> str:
    """Return the part of the page about one library."""
    parts = [f"## {library['name']}", library["about"].strip()]
    for each in (each for each in found if each.library["package"] == library["package"]):
        run = each.run
        on = ", ".join(f"{name} {run[name]}" for name in each.library["runs_on"])
        parts.append(f"### {each.title}")
        used = f"{run['package']} {run['version']} with {on}, Python {run['python']}"
        parts.append(f"{each.words['about'].strip()} Tried on {run['date']}: {used}.")
        parts.append("\n".join(f"- {choice}" for choice in each.words["choices"]))
        differences = each.words.get("differences", ())
        if differences:
            parts += ["Differences:", "\n".join(difference(each, words) for words in differences)]
            parts.append(f"Broken in consequence: {', '.join(each.words['consequences'])}.")
        else:
            parts.append("No law found a difference.")
        parts.append(published(each))
    return "\n\n".join(parts)


def unusable(library: dict[str, Any]) -> str:
    """Return the part of the page about a package that could not be tried."""
    run = read(library["package"], "run.json")
    modules = ", ".join(f"`{name}`" for name in run["modules"])
    sentence = (
        library["about"].strip().format(error=run["error"], modules=modules, version=run["version"], date=run["date"])
    )
    return f"## {library['name']}\n\n{sentence}"


def render() -> str:
    """Return the page."""
    found, words = tried(), texts()["introduction"].strip()
    parts = [
        "<!-- Written by tools/scoreboard/page.py from results/scoreboard/: do not edit. -->",
        words,
        overview(found),
    ]
    for level, name in LEVELS.items():
        parts += [f"## {name}", constraints(found, level)]
    parts += [section(library, found) for library in libraries() if library.get("configurations")]
    parts += [unusable(library) for library in libraries() if "module" in library]
    parts.append(texts()["not_tried"].strip())
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    PAGE.write_text(render(), "utf-8")
