"""The result of the laws for each constraint of the specification: a table at the end of a run, and files.

A law holds a constraint, which belongs to a level; so do the laws of a chapter: first single steps, then longer
evolutions, then gradients, then what training needs.
"""

from __future__ import annotations

import json
import platform
import re
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from refca_spec import FOLDER, SPECIFICATION

LEVELS = ("step", "evolve", "gradients", "training")
OF_CHAPTER = {
    **dict.fromkeys(("step", "encode"), "step"),
    **dict.fromkeys(("backends", "recorded", "streams", "distill", "vectors"), "evolve"),
    "readout": "gradients",
    **dict.fromkeys(("init_state", "mutate", "adam", "pool", "persistence", "training_step"), "training"),
}
GRADIENTS = {("backends", number) for number in (7, 8, 9, 10, 11, 12, 13, 16, 18, 20, 21, 22, 23)} | {("vectors", 2)}
DETERMINISM = {("backends", 4), ("backends", 19)}  # the same bits again, which a framework may not promise
LAW = re.compile(r"test_(?P<chapter>[a-z_]+?)_c(?P<number>\d+)_")
CONSTRAINT = re.compile(r"^- \(C(\d+)\) (.*?)(?=^- \(C|^#|\Z)", re.MULTILINE | re.DOTALL)
NOT_OFFERED = "not offered"
NOT_TRIED = "not tried"
UNANSWERED = NOT_OFFERED, NOT_TRIED  # statuses that say nothing about a backend

Key = tuple[str, int]  # chapter and number


def constraint_of(law: str) -> Key | None:
    """Return the chapter and the number of the constraint that a law holds, by its name."""
    found = LAW.match(law)
    return (found["chapter"], int(found["number"])) if found else None


def level_of(key: Key) -> str:
    """Return the level of a constraint."""
    return "gradients" if key in GRADIENTS else OF_CHAPTER.get(key[0], "training")


def rank(key: Key) -> tuple[int, str, int]:
    """Return what constraints are sorted by: level, chapter, number."""
    return LEVELS.index(level_of(key)), *key


def text_of(key: Key) -> str:
    """Return the sentence of a constraint in its chapter, "" if the chapters are not here."""
    path = FOLDER / f"{key[0]}.md"
    if not path.exists():
        return ""
    texts = dict(CONSTRAINT.findall(path.read_text("utf-8")))
    return " ".join(texts.get(str(key[1]), "").split())


def named(key: Key) -> str:
    """Return a constraint as "step C2: Outside the grid everything is zero"."""
    return f"{key[0]} C{key[1]}: {text_of(key)}".rstrip(": ")


@dataclass
class Result:
    """The results of the laws of one constraint on one backend: names of laws with their parameters, and why."""

    passed: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)  # and the sentence of the failure
    known: dict[str, str] = field(default_factory=dict)  # failures that were announced, and the reason
    surprising: dict[str, str] = field(default_factory=dict)  # announced failures that passed
    not_offered: dict[str, str] = field(default_factory=dict)  # and the reason
    not_tried: dict[str, str] = field(default_factory=dict)  # for want of data; and the reason

    def add(self, status: str, law: str, why: str) -> None:
        """Enter the result of a law; `status` is the name of a field."""
        getattr(self, status)[law] = why

    @property
    def status(self) -> str:
        """Return "failed", "known", "passed", "not offered" or "not tried"."""
        if self.failed:
            return "failed"
        if self.known:
            return "known"
        if self.passed or self.surprising:
            return "passed"
        return NOT_TRIED if self.not_tried else NOT_OFFERED


class Report:
    """Everything that the laws found about one backend."""

    def __init__(self, backend: str, dtypes: tuple[str, ...], examples: int, seed: int | None = None) -> None:
        self.backend, self.dtypes, self.examples, self.seed = backend, dtypes, examples, seed
        self.results: dict[Key, Result] = {}

    def of(self, key: Key) -> Result:
        return self.results.setdefault(key, Result())

    def with_status(self, status: str) -> list[Key]:
        """Return the constraints of a status: the lowest level first, in a chapter the general C1 last."""
        found = [key for key, result in self.results.items() if result.status == status]
        return sorted(found, key=lambda key: (rank(key)[0], key[0] != "step", key[0], key[1] == 1, key[1]))

    def summary(self) -> str:
        """Return "step 19/19, evolve 7/7, gradients not offered"."""
        parts = []
        for level in LEVELS:
            statuses = [result.status for key, result in self.results.items() if level_of(key) == level]
            asked = [status for status in statuses if status not in UNANSWERED]
            if asked:
                parts.append(f"{level} {asked.count('passed')}/{len(asked)}")
            elif statuses:
                parts.append(f"{level} {NOT_OFFERED if NOT_OFFERED in statuses else NOT_TRIED}")
        return ", ".join(parts)

    def lines(self) -> list[str]:
        """Return what the end of a run says."""
        lines = [f"refca: {self.backend}: {self.summary()}"]
        for key in self.with_status("failed"):
            hint = " (about determinism, not correctness)" if key in DETERMINISM else ""
            lines.append(f"  broken  {named(key)}{hint}")
        lines += [f"  known   {named(key)} ({self.reason(key)})" for key in self.with_status("known")]
        for key, result in self.results.items():
            if result.surprising and not result.known:
                lines.append(f"  passed, though it was announced to fail:  {named(key)}")
        for key in self.with_status(NOT_TRIED):
            lines.append(f"  not tried  {named(key)} ({next(iter(self.of(key).not_tried.values()))})")
        return lines

    def reason(self, key: Key) -> str:
        return next(iter(self.of(key).known.values()))

    def as_json(self) -> dict[str, Any]:
        """Return the content of report.json."""
        rows = []
        for key, result in sorted(self.results.items(), key=lambda item: rank(item[0])):
            row: dict[str, Any] = {"chapter": key[0], "constraint": f"C{key[1]}", "level": level_of(key)}
            row |= {"status": result.status, "text": text_of(key)}
            row |= {"laws": [*result.passed, *result.failed, *result.known, *result.surprising]}
            row |= {"failures": [self.failure(law, text) for law, text in result.failed.items()]}
            reasons = {*result.known.values(), *result.not_offered.values(), *result.not_tried.values()}
            rows.append(row | {"reasons": sorted(reasons)})
        return {
            "backend": self.backend,
            "dtypes": list(self.dtypes),
            "examples": self.examples,
            "seed": self.seed,
            "summary": self.summary(),
            "versions": versions(),
            "constraints": rows,
        }

    def failure(self, law: str, text: str) -> dict[str, str]:
        """Return a failure: its sentence, its case, and how to repeat it."""
        message, _, call = text.partition(" The call: ")
        name, _, _ = law.partition("[")
        found = {"law": law, "message": message}
        if call:
            found["case"] = call
            found["python"] = (
                "from refca_spec.laws import *; from refca_spec.strategies import Case, CoarseCase; "
                f"from refca import Cell, Streams; case = {call}"
            )
        command = f"pytest --pyargs refca_spec --refca-backend {self.backend} -k {name}"
        command += f" --refca-examples {self.examples}"
        command += "" if self.seed is None else f" --refca-seed {self.seed}"
        return found | {"repeat": command}

    def as_markdown(self) -> str:
        """Return the content of report.md."""
        heads = ("level", "constraint", "", "")
        rows = [
            (level_of(key), f"{key[0]} C{key[1]}", mark(result.status), text_of(key).replace("|", "\\|"))
            for key, result in sorted(self.results.items(), key=lambda item: rank(item[0]))
        ]
        table = ["| " + " | ".join(row) + " |" for row in (heads, ("---",) * 4, *rows)]
        failures = [
            f"- `{law}`: {text.partition(' The call: ')[0]}"
            for key in self.with_status("failed")
            for law, text in self.of(key).failed.items()
        ]
        below = ["", "Failures:", "", *failures] if failures else []
        return "\n".join([f"# {self.backend}", "", self.summary(), "", *table, *below, ""])

    def badge(self) -> dict[str, Any]:
        """Return the content of badge.json, an endpoint badge of shields.io."""
        failed, passed, known = map(self.with_status, ("failed", "passed", "known"))
        message = f"{len(failed)} broken" if failed else f"{len(passed)} constraints hold"
        message += f", {len(known)} known to fail" if known else ""
        colour = "red" if failed else "yellow" if known else "brightgreen" if passed else "lightgrey"
        return {
            "schemaVersion": 1,
            "label": "refca",
            "message": message,
            "color": colour,
        }


def mark(status: str) -> str:
    """Return how a table shows a status."""
    return "**failed**" if status == "failed" else status


def write_reports(folder: Path, reports: list[Report]) -> None:
    """Write report.json, report.md and badge.json; of several backends each in a folder of its own."""
    for report in reports:
        name = re.sub(r"[^A-Za-z0-9_.-]+", "-", report.backend).strip("-.")
        out = folder if len(reports) == 1 else folder / name
        out.mkdir(parents=True, exist_ok=True)
        for file, text in (
            ("report.json", json.dumps(report.as_json(), indent=2) + "\n"),
            ("report.md", report.as_markdown()),
            ("badge.json", json.dumps(report.badge()) + "\n"),
        ):
            (out / file).write_text(text, "utf-8")


def versions() -> dict[str, str]:
    """Return the versions of the specification, of Python, and of the libraries that matter."""
    found = {"specification": SPECIFICATION, "python": platform.python_version()}
    for name in ("refca", "numpy", "hypothesis", "torch", "jax"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def read_known(path: Path) -> dict[Key, str]:
    """Return the constraints that may fail, and why, of lines such as "step C10: borders are not handled".

    Raise ValueError, naming the line, for any other.
    """
    known: dict[Key, str] = {}
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        found = re.fullmatch(r"([a-z_]+) C(\d+): *(\S.*)", line.strip())
        if not found:
            raise ValueError(f'{path}, line {number}: expected "CHAPTER C<NUMBER>: reason", got {line.strip()!r}')
        known[found[1], int(found[2])] = found[3]
    return known
