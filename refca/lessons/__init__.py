"""The exercises of the lessons: `check("1.1", answer)` says whether an answer is right, `solution("1.1")` shows one.

The notebooks are in `lessons/`. Checks and solutions are here, in the installed package, so that a downloaded notebook
needs nothing else, and so that a solution is only seen by those who ask for it.
"""

from __future__ import annotations

import inspect
from pprint import pformat
from typing import Any

from refca.errors import InvalidInput
from refca.lessons.pictures import show
from refca.lessons.suspects import suspect

__all__ = ["check", "problem", "show", "solution", "suspect"]


def check(exercise: str, answer: Any) -> None:
    """Print whether an answer to an exercise, such as "1.1", is right, and if it is not, what is wrong."""
    found = problem(exercise, answer)
    print(f"{exercise}: right!" if found is None else f"{exercise}: not yet: {found}")


def problem(exercise: str, answer: Any) -> str | None:
    """Return what is wrong with an answer in a sentence, None for a right answer.

    Raises InvalidInput for an unknown exercise.
    """
    from refca.lessons.checks import CHECKS, Wrong

    known(exercise, CHECKS)
    try:
        CHECKS[exercise](answer)
    except Wrong as error:
        return str(error)
    except Exception as error:  # the student's code, whatever it does
        if "object is not callable" in str(error) and not callable(answer):
            return "give check the function itself, not its result"
        return f"your answer raised {type(error).__name__}: {error}"
    return None


def solution(exercise: str) -> None:
    """Print a solution of an exercise. Raises InvalidInput for an unknown exercise."""
    from refca.lessons.solutions import SOLUTIONS

    known(exercise, SOLUTIONS)
    found = SOLUTIONS[exercise]
    print(inspect.getsource(found) if callable(found) else pformat(found, sort_dicts=False))


def known(exercise: str, exercises: dict[str, Any]) -> None:
    """Raise InvalidInput unless there is an exercise of this name."""
    if exercise not in exercises:
        raise InvalidInput(f'exercise must be one of {", ".join(exercises)}, got "{exercise}"')
