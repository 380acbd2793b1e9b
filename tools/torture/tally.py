"""Counts of trials by part and kind, and every fault with the words that repeat it."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field

SHOWN = 200  # characters of a program's output in the report of a fault


@dataclass
class Tally:
    """Counts by part and kind, and the faults in words."""

    counts: dict[str, Counter[str]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    peaks: dict[str, int] = field(default_factory=dict)  # bytes of memory by part

    def count(self, part: str, what: str, number: int = 1) -> None:
        self.counts.setdefault(part, Counter())[what] += number

    def fault(self, part: str, kind: str, how: str) -> None:
        """Count a fault and print it at once: `how` says how to have it again."""
        self.count(part, kind)
        self.faults.append(f"{part}: {kind}: {how}")
        print(f"FAULT {self.faults[-1]}", flush=True)

    def peak(self, part: str, size: int) -> None:
        self.peaks[part] = max(size, self.peaks.get(part, 0))

    def total(self, part: str, what: str) -> int:
        """The number of `what` in all parts that begin with `part`."""
        return sum(counts[what] for name, counts in self.counts.items() if name.startswith(part))

    def table(self) -> str:
        """A line for each part: its counts and its peak of memory."""
        width = max(map(len, self.counts), default=0)
        lines = []
        for part, counts in self.counts.items():
            words = ", ".join(f"{number:,} {what}" for what, number in sorted(counts.items()))
            peak = f"; peak {self.peaks[part] / 1e6:,.0f} MB" if part in self.peaks else ""
            lines.append(f"  {part:{width}}  {words}{peak}")
        return "\n".join(lines)


@dataclass(frozen=True)
class Deadline:
    """A time to stop at; what is not done by then is left out and told."""

    end: float

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        return cls(time.monotonic() + seconds)

    @property
    def left(self) -> float:
        """The seconds that are left, not below zero."""
        return max(0.0, self.end - time.monotonic())

    def share(self, fraction: float) -> Deadline:
        """A deadline after this fraction of the time that is left."""
        return Deadline.after(fraction * self.left)


def shortened(text: str) -> str:
    """The end of a program's output, on one line."""
    return repr(text[-SHOWN:])
