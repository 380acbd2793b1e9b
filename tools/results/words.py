"""The text of runs and numbers in the tables of `results/`.

Source: `spec/programs.md`.
"""

from __future__ import annotations

from collections.abc import Sequence

from kept import Kept

PUBLISHED = "the article's published weights"


def titled(run: Kept) -> str:
    """Return a run's name for a table."""
    return PUBLISHED if run.experiment is None else run.name


def percent(value: float | None) -> str:
    """Return a fraction in per cent, or a dash for NaN and None."""
    return "–" if value is None or value != value else f"{100 * value:.1f}"


def duration(seconds: float | None) -> str:
    if seconds is None:
        return "not measured"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02} min" if minutes >= 60 else f"{minutes} min"


def aligned(rows: Sequence[Sequence[str]], words: int = 1) -> str:
    """Return a Markdown table with its head in the first row; the first `words` columns are text, others numbers."""
    head, *body = rows
    rule = ["---"] * words + ["---:"] * (len(head) - words)
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *body))
