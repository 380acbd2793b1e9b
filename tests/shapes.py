"""Shape claims, such as `hidden = ...  # (B, H, W, P)`, and a tracer that compares them with the arrays of a run.

A claim is made in one of three places:

- a comment that begins with a shape, at the end of an assignment, of a field of a class, of a `return`, or of a `def`
  with one argument;
- a docstring, after the name of an argument or a field: "image (B, H, W, K)", "counted is (K, B)", "x and y (B, D)";
- a docstring that begins with "Return", elsewhere: the shape of the returned value, unless it follows "for labels" or
  the like. Several shapes are alternatives, or belong to the elements of a tuple.

The test gives the size of some letters. Another letter has one size throughout a call. Names of integer arguments may
stand in shapes too: (B, H, W, channels).
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

PARENTHESES = re.compile(r"(?<![\w.)`'\"])\(((?:[^()]|\([^()]*\))*)\)")
SIZE = re.compile(r"\.\.\.|[\w·+/()]+")
BEFORE_NAME = re.compile(r"(?:`?(\w+)`? and )?`?(\w+)`?(?: is| are)? $")
ABOUT_OTHERS = re.compile(r"\b(?:for|from|of|with)(?: an?| the)? \w+ $")
RETURN = "the returned value"


@dataclass(frozen=True)
class Claim:
    """The claim that a variable, or what a function returns, has a shape."""

    path: Path
    line: int
    name: str
    shape: str

    def __str__(self) -> str:
        return f"{self.path.name}:{self.line}: {self.name} is ({self.shape})"


@dataclass
class Claims:
    """The claims of a file, by the place where they are checked."""

    at_call: dict[str, list[Claim]] = field(default_factory=lambda: defaultdict(list))  # by function
    at_return: dict[str, list[Claim]] = field(default_factory=lambda: defaultdict(list))  # by function
    after: dict[tuple[int, int], list[Claim]] = field(default_factory=lambda: defaultdict(list))  # by lines
    of_fields: dict[str, list[Claim]] = field(default_factory=lambda: defaultdict(list))  # by class

    def all(self) -> list[Claim]:
        return [claim for group in vars(self).values() for claims in group.values() for claim in claims]


def read_claims(path: Path) -> Claims:
    """Return the claims of a file."""
    text = path.read_text("utf-8")
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    comments = {token.start[0]: token.string for token in tokens if token.type == tokenize.COMMENT}
    claims = Claims()
    visit(ast.parse(text), "", path, comments, claims)
    return claims


def visit(node: ast.AST, owner: str, path: Path, comments: Mapping[int, str], claims: Claims) -> None:
    """Add the claims of this node and its children; `owner` is the qualified name of the enclosing scope."""
    for child in ast.iter_child_nodes(node):
        inside = owner
        if isinstance(child, ast.ClassDef):
            inside = f"{owner}{child.name}."
            fields = {name for line in child.body if isinstance(line, ast.AnnAssign) for name in targets(line)}
            claims.of_fields[child.name] += docstring_claims(child, fields, path)[0]
        elif isinstance(child, ast.FunctionDef):
            inside = f"{owner}{child.name}.<locals>."
            arguments = {a.arg for a in (*child.args.posonlyargs, *child.args.args, *child.args.kwonlyargs)}
            at_call, at_return = docstring_claims(child, arguments, path)
            claims.at_call[f"{owner}{child.name}"] += at_call
            claims.at_return[f"{owner}{child.name}"] += at_return
            shapes = leading_shapes(comments.get(child.body[0].lineno - 1, "") if one_line_header(child) else "")
            claims.at_call[f"{owner}{child.name}"] += [
                Claim(path, child.lineno, child.args.args[0].arg, shape) for shape in shapes
            ]
        elif isinstance(child, (ast.Assign, ast.AnnAssign, ast.Return)):
            shapes = leading_shapes(comments.get(child.end_lineno or 0, ""))
            if isinstance(child, ast.Return):
                function = owner.removesuffix(".<locals>.")
                claims.at_return[function] += [Claim(path, child.lineno, RETURN, shape) for shape in shapes]
            else:
                found = [Claim(path, child.lineno, name, shape) for name in targets(child) for shape in shapes]
                if isinstance(node, ast.ClassDef):
                    claims.of_fields[node.name] += found
                elif found:
                    claims.after[child.lineno, child.end_lineno or 0] += found
        visit(child, inside, path, comments, claims)


def one_line_header(function: ast.FunctionDef) -> bool:
    """Return whether a comment after `def f(x):` can be told from a comment in the body."""
    return len(function.args.args) == 1 and function.body[0].lineno == function.lineno + 1


def targets(assignment: ast.Assign | ast.AnnAssign) -> list[str]:
    """Return the names that an assignment sets."""
    places = assignment.targets if isinstance(assignment, ast.Assign) else [assignment.target]
    return [name.id for place in places for name in ast.walk(place) if isinstance(name, ast.Name) and name.id != "_"]


def docstring_claims(
    node: ast.FunctionDef | ast.ClassDef, names: set[str], path: Path
) -> tuple[list[Claim], list[Claim]]:
    """Return the claims of a docstring about these arguments or fields, and about what the function returns."""
    text = " ".join((ast.get_docstring(node) or "").split())
    about_names, about_return = [], []
    for match in PARENTHESES.finditer(text):
        if not is_shape(match[1], names):
            continue
        before = text[: match.start()]
        words = BEFORE_NAME.search(before)
        named = [word for word in words.groups() if word in names] if words and words[2] in names else []
        about_names += [Claim(path, node.lineno, word, match[1]) for word in named]
        if text.startswith("Return") and not named and not ABOUT_OTHERS.search(before):
            about_return.append(Claim(path, node.lineno, RETURN, match[1]))
    return about_names, about_return


def leading_shapes(comment: str) -> list[str]:
    """Return the shapes that a comment begins with: of "# (B, H, W) or (B, 1, 1), rows" the first two."""
    rest, found = comment.removeprefix("# "), []
    while (match := PARENTHESES.match(rest)) and is_shape(match[1], set()):
        found.append(match[1])
        rest = rest[match.end() :].removeprefix(" or ")
    return found


def is_shape(text: str, names: set[str]) -> bool:
    """Return whether the text between two parentheses is a shape: sizes with a comma and a letter, or a name."""
    sizes = [size.strip() for size in text.split(",")]
    words = set(re.findall("[A-Za-z_]+", text))
    letters = {word for word in words if re.fullmatch("[A-Zs]?[A-Z]", word)}
    return (
        len(sizes) > 1
        and all(SIZE.fullmatch(size) for size in sizes if size)
        and bool(words)
        and words <= letters | names
    )


class WrongShape(AssertionError):
    """An array that does not have its claimed shape."""


@dataclass
class Tracer:
    """A comparison of claims with arrays; `checked` holds the claims found true."""

    claims: dict[str, Claims]  # by file name
    sizes: Mapping[str, int]
    checked: set[Claim] = field(default_factory=set)
    letters: dict[FrameType, dict[str, int]] = field(default_factory=dict)
    statement: dict[FrameType, tuple[int, int]] = field(default_factory=dict)

    def trace(self, frame: FrameType, event: str, value: Any) -> Any:
        """The trace function: see `sys.settrace`."""
        claims = self.claims.get(frame.f_code.co_filename)
        if claims is None or frame.f_code.co_name.startswith("<"):
            return None
        if event == "call":
            self.letters[frame] = dict(self.sizes)
            self.check_all(claims.at_call[frame.f_code.co_qualname], frame, frame.f_locals)
            self.check_fields(frame, frame.f_locals.get("self"))
        elif event in ("line", "return"):
            self.check_statement(claims, frame, leaving=event == "return")
        if event == "return":
            self.check_returned(claims.at_return[frame.f_code.co_qualname], frame, value)
            self.check_fields(frame, value)
            self.letters.pop(frame, None)
            self.statement.pop(frame, None)
        return self.trace

    def check_statement(self, claims: Claims, frame: FrameType, leaving: bool) -> None:
        """Check the previous statement when the next one begins."""
        first, last = self.statement.get(frame, (0, 0))
        if first and (leaving or not first <= frame.f_lineno <= last):
            self.check_all(claims.after[first, last], frame, frame.f_locals)
        lines = (lines for lines in claims.after if lines[0] <= frame.f_lineno <= lines[1])
        self.statement[frame] = next(lines, (0, 0))

    def check_fields(self, frame: FrameType, instance: Any) -> None:
        """Check the fields of an instance of a class of the traced files."""
        for claims in self.claims.values():
            for claim in claims.of_fields.get(type(instance).__name__, []):
                self.check_all([claim], frame, {claim.name: getattr(instance, claim.name)})

    def check_all(self, claims: list[Claim], frame: FrameType, values: Mapping[str, Any]) -> None:
        """Check that each of these variables has one of the shapes that are claimed of it."""
        for name in dict.fromkeys(claim.name for claim in claims):
            if values.get(name) is not None:
                self.check_one([claim for claim in claims if claim.name == name], frame, values[name])

    def check_returned(self, claims: list[Claim], frame: FrameType, value: Any) -> None:
        """Check what a function returns: for a tuple and as many claims, each element in turn."""
        if value is None or not claims:
            return
        if type(value) is tuple and len(claims) == len(value):
            for claim, element in zip(claims, value, strict=True):
                self.check_one([claim], frame, element)
        else:
            self.check_one(claims, frame, value)

    def check_one(self, claims: list[Claim], frame: FrameType, value: Any) -> None:
        """Check that an array, or each of a list of arrays, has one of the claimed shapes."""
        for shape in shapes_of(value):
            fitting = [claim for claim in claims if self.fits(claim.shape, shape, frame)]
            if not fitting:
                raise WrongShape(f"{' or '.join(map(str, claims))}, but its shape is {shape}")
            self.checked |= set(fitting[:1])

    def fits(self, claim: str, shape: tuple[int, ...], frame: FrameType) -> bool:
        """Return whether a shape is as claimed. Unknown letters take the sizes of the array."""
        sizes = [size.strip() for size in claim.split(",") if size.strip()]
        if "..." in sizes:
            behind = sizes[sizes.index("...") + 1 :]
            sizes, shape = behind, shape[len(shape) - len(behind) :]
        known = self.letters[frame]
        arguments = {name: x for name, x in frame.f_locals.items() if type(x) is int and name.islower()}
        found: dict[str, int] = {}
        if len(sizes) != len(shape):
            return False
        for size, n in zip(sizes, shape, strict=True):
            if re.fullmatch("[A-Z]", size) and size not in known | found:
                found[size] = n
            elif evaluate(size, arguments | known | found) != n:
                return False
        known |= found
        return True


def evaluate(size: str, sizes: Mapping[str, int]) -> Any:
    """Return the number that a size such as 9·(E+D), sH or D/4 stands for, None if it has an unknown letter."""
    python = re.sub(r"(\d|\bs)(?=[A-Z])", r"\1*", size).replace("·", "*")
    try:
        return eval(python, {"__builtins__": {}}, dict(sizes))
    except NameError:
        return None


def shapes_of(value: Any) -> Iterator[tuple[int, ...]]:
    """Yield the shape of an array, those of a list or tuple of arrays, or a tuple of integers, which is a shape."""
    if hasattr(value, "shape"):
        yield tuple(value.shape)
    elif type(value) is tuple and all(type(n) is int for n in value):
        yield value
    elif isinstance(value, (list, tuple)):
        for element in value:
            yield from shapes_of(element)


@contextmanager
def shapes_traced(paths: list[Path], **sizes: int) -> Iterator[Tracer]:
    """Within this block, raise WrongShape if an array in one of these files does not have its claimed shape."""
    tracer = Tracer({str(path): read_claims(path) for path in paths}, sizes)
    before = sys.gettrace()
    sys.settrace(tracer.trace)
    try:
        yield tracer
    finally:
        sys.settrace(before)
