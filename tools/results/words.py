"""How runs and numbers are written in the tables of `results/`.

Source: `spec/programs.md`.
"""

from __future__ import annotations

from collections.abc import Sequence

from kept import Kept

PUBLISHED = "the article's published weights"


def titled(run: Kept) -> str:
    """A run's name for a table."""
    return PUBLISHED if run.experiment is None else run.name


def percent(value: float | None) -> str:
    """A share in per cent; a dash if there is none."""
    return "–" if value is None or value != value else f"{100 * value:.1f}"


def duration(seconds: float | None) -> str:
    if seconds is None:
        return "not measured"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02} min" if minutes >= 60 else f"{minutes} min"


def aligned(rows: Sequence[Sequence[str]], words: int = 1) -> str:
    """A Markdown table whose first row is its head: its first columns, `words`, are words, others numbers."""
    head, *body = rows
    rule = ["---"] * words + ["---:"] * (len(head) - words)
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *body))
