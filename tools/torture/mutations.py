"""Damage to the bytes of a file of any format, as disks, transfers and editors do it."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

Damage = Callable[[bytes, random.Random, Sequence[bytes]], bytes]

HUGE = (2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1, 0, 1)


def damaged(content: bytes, rng: random.Random, others: Sequence[bytes]) -> tuple[str, bytes]:
    """Return the name of a random damage, and the content with it. `others` are files of other kinds."""
    damage = rng.choices(list(DAMAGES), list(DAMAGES.values()))[0]
    return damage.__name__.replace("_", " "), damage(content, rng, others)


def span(content: bytes, rng: random.Random, longest: int = 512) -> tuple[int, int]:
    """A random span of some bytes, as its beginning and end."""
    begin = rng.randrange(len(content))
    return begin, min(len(content), begin + rng.randint(1, longest))


def place(content: bytes, rng: random.Random) -> int:
    """A place in a file; half of them near its beginning, where headers are, or its end."""
    near = min(len(content), 128)
    where = rng.random()
    if where < 0.3:
        return rng.randrange(near)
    return len(content) - 1 - rng.randrange(near) if where < 0.5 else rng.randrange(len(content))


def turned_bit(content: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    return turned(content, rng, 1)


def turned_bits(content: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    return turned(content, rng, rng.randint(2, 64))


def turned(content: bytes, rng: random.Random, count: int) -> bytes:
    found = bytearray(content)
    for _ in range(count):
        found[place(content, rng)] ^= 1 << rng.randrange(8)
    return bytes(found)


def other_bytes(content: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    begin, end = span(content, rng)
    return content[:begin] + rng.randbytes(end - begin) + content[end:]


def cut_short(content: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    return content[: place(content, rng)]


def beginning_cut_off(content: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    return content[1 + place(content, rng) :]


def zeroed_tail(content: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    begin = place(content, rng)
    return content[:begin] + bytes(len(content) - begin)


def zeroed_span(content: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    begin, end = span(content, rng, 4096)
    return content[:begin] + bytes(end - begin) + content[end:]


def removed_span(content: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    begin, end = span(content, rng)
    return content[:begin] + content[end:]


def doubled_span(content: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    begin, end = span(content, rng)
    return content[:end] + content[begin:]


def swapped_spans(content: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    a, b, c = sorted(rng.randrange(len(content) + 1) for _ in range(3))
    return content[:a] + content[b:c] + content[a:b] + content[c:]


def huge_number(content: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    """A binary integer that is huge, at a place where there may be one."""
    size, order = rng.choice([2, 4, 8]), rng.choice(["little", "big"])
    number = rng.choice(HUGE) % 2 ** (8 * size)
    begin = place(content, rng) // 2 * 2
    return content[:begin] + number.to_bytes(size, order) + content[begin + size :]


def long_text(content: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    """A digit or a bracket of a text, thousands of times."""
    texts = [i for i, byte in enumerate(content[: 2**16]) if byte in b"0123456789[]{}(),;\"'\n"]
    begin = rng.choice(texts) if texts else place(content, rng)
    return content[:begin] + content[begin : begin + 1] * rng.choice([10, 400, 5_000, 140_000]) + content[begin + 1 :]


def lines_in_disorder(content: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    lines = content.splitlines(keepends=True)
    what = rng.randrange(4)
    if what == 0:
        rng.shuffle(lines)
    elif what == 1:
        del lines[rng.randrange(len(lines))]
    elif what == 2:
        lines.insert(rng.randrange(len(lines)), rng.choice(lines))
    else:
        lines = [line.replace(b"\n", b"\r\n") for line in lines]
    return b"".join(lines)


def another_encoding(content: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    text = content.decode("latin-1")
    return rng.choice(["\ufeff" + text, text + "\udc80", text]).encode(
        rng.choice(["utf-8", "utf-16", "utf-32"]), "surrogatepass"
    )


def empty(content: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    return b""


def more_behind(content: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    return content + rng.choice([content, bytes(rng.randint(1, 2**16)), rng.randbytes(rng.randint(1, 99))])


def another_kind(content: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    return rng.choice(others) if others else b""


def half_another_kind(content: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    other = rng.choice(others) if others else b""
    return content[: place(content, rng)] + other[len(other) // 2 :]


DAMAGES: dict[Damage, int] = {  # and how often
    turned_bit: 8,
    turned_bits: 4,
    other_bytes: 4,
    cut_short: 4,
    beginning_cut_off: 1,
    zeroed_tail: 3,
    zeroed_span: 3,
    removed_span: 3,
    doubled_span: 3,
    swapped_spans: 2,
    huge_number: 6,
    long_text: 3,
    lines_in_disorder: 1,
    another_encoding: 1,
    empty: 1,
    more_behind: 2,
    another_kind: 1,
    half_another_kind: 1,
}
