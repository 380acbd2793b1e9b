"""Pages of the API reference: mkdocstrings reads the docstrings of the names that are listed here."""

from __future__ import annotations

import inspect
from typing import Any

import refca

INTRODUCTION = {
    "refca": "What `import refca` offers. The names that compute check their arguments and raise `InvalidInput`.",
    "contract": "What a backend is, for those who write one, and how the programs find it. "
    "[The chapter](../spec/chapters/backends.md) has the constraints and the laws.",
    "refca_spec": "What tests of your own can use from the package of the laws. The laws themselves are run by pytest: "
    "[check your own](../spec/check_your_own.md).",
}
NAMES = {
    "contract": (
        "refca.contract.protocol.Backend",
        "refca.contract.protocol.BaseBackend",
        "refca.contract.registry.get_backend",
        "refca.contract.registry.backend_names",
        "refca.contract.comparison.Comparison",
        "refca.errors.InvalidInput",
        "refca.errors.NotOffered",
        "refca.errors.Unavailable",
    ),
    "refca_spec": (
        "refca_spec.compare.assert_close",
        "refca_spec.compare.assert_same",
        "refca_spec.compare.longest_sum",
        "refca_spec.strategies.Case",
        "refca_spec.strategies.cells",
        "refca_spec.strategies.cases",
        "refca_spec.strategies.law",
        "refca_spec.broken.broken",
        "refca_spec.broken.sentence_of",
    ),
}


def reference_page(page: str) -> str:
    """Return the Markdown of a page of the reference."""
    if page == "refca":
        names = {f"refca.{name}": defined(getattr(refca, name)) for name in refca.__all__}
    else:
        names = {name: name for name in NAMES[page]}
    blocks = [block(name, place) for name, place in names.items()]
    return "\n".join([f"# {page}\n\n{INTRODUCTION[page]}\n", *blocks])


def block(name: str, place: str) -> str:
    """Return one entry: an anchor of the public name, the documentation, and the file in which it is defined."""
    anchor = f'<a id="{name}"></a>\n\n' if name != place else ""
    file = place.rpartition(".")[0].replace(".", "/") + ".py"
    return f"{anchor}::: {place}\n    options:\n      heading: {name}\n\nDefined in `{file}`.\n"


def defined(thing: Any) -> str:
    """Return where something is defined: the function itself where refca wraps it to check its arguments."""
    inner = inspect.unwrap(thing)
    return f"{inner.__module__}.{inner.__qualname__}"
