"""Files that somebody made wrong on purpose: valid to the outside, with odd declarations and values within.

Checksums are made again where the format has them, so that what is odd gets as far as the reader. Each function
takes a whole file and returns an odd one.
"""

from __future__ import annotations

import gzip
import io
import json
import random
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from copy import deepcopy
from typing import Any

from torture.mutations import damaged

Craft = Callable[[bytes, random.Random], bytes]

RAW = "raw value "  # a text that stands for one that JSON cannot write
ODD_JSON: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2**31, 2**63, 2**64, -(2**63), 10**400, 0.5, 1e308, float("nan"), float("inf")),
    *("", "x", "none", "\u202e", "\x1b[31m", "\ud800", "F64", "F8_E4M3", "9" * 5000, "x" * 200_000),
    *([], {}, [[]], [0, 0], [2**40, 2**40], [-1, 8], {"a": 1}, [None] * 3, {"": {}}),
    *(RAW + "[" * 100_000, RAW + '{"a":' * 100_000, RAW + "9" * 5_000, RAW + "-Infinity", RAW + "1e999", RAW + "nul"),
)
ODD_TOML = (
    *("-1", "0", "1", "2", "1e300", "nan", "inf", "-inf", "9" * 30, "9" * 4301, "0x7fffffffffffffff", "1_000", "true"),
    *('""', '"x"', '"none"', "'''", '"\\u0000"', '"\\u202e\\u001b[31m"', '"' + "x" * 200_000 + '"', '"/dev/zero"'),
    *("[]", "{}", "[1, 2]", '["a", "b"]', "[" * 5_000, "[" * 200 + "]" * 200, "{a=" * 5_000, "1979-05-27", "07:32:00"),
    *('"pets"', '"mnist"', '"/nowhere/at all"', '"a::b"', '"segmentation"', '"digits-large-batch"', "", "= 1", "\x00"),
)
ODD_CELLS = (
    *("", "-1", "nan", "inf", "1e999", "0x10", "10", "9" * 5_000, "x", "\x00", "\x1b[31m", "\u202e", '"', '"a""b"'),
    *("../../../etc/passwd", "/dev/zero", "/", ".", "a" * 300, "a\nb", "x" * 140_000, ";", "'", "\ufeff", "\udc80"),
)
ODD_NPY = (
    *("{'descr': '|O', 'fortran_order': False, 'shape': (3,), }", "{'descr': 'what', 'fortran_order': 0, 'shape': ()}"),
    *("{'descr': '<f4', 'fortran_order': False, 'shape': (-3,), }", "(" * 9_000, "{" * 9_000, "9" * 5_000, ""),
    *("{'descr': '<f4', 'fortran_order': False, 'shape': (2**70,), }", "{'descr': '<M8[s]', 'fortran_order': False,"),
    *("{'descr': '|V1', 'fortran_order': True, 'shape': (1, 1, 1)}", "__import__('os').system('touch /tmp/ran')"),
    "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,), }",
    "{'descr': '|u1', 'fortran_order': False, 'shape': (1000000000000,), }",
    "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,), }",
    "{'descr': '<c16', 'fortran_order': False, 'shape': (2, 2), }",
    "{'descr': '<U4', 'fortran_order': False, 'shape': (2,), }",
    "{'descr': '<f8', 'fortran_order': False, 'shape': (0,), }",
)


def odd_json(content: bytes, rng: random.Random) -> bytes:
    """A JSON text with a value, a name or a structure that is odd."""
    tree = json.loads(content)
    for _ in range(rng.randint(1, 3)):
        tree = changed(tree, rng)
    return written(tree)


def written(tree: Any) -> bytes:
    """JSON with the raw texts in it."""
    text = json.dumps(tree)
    for raw in (x for x in ODD_JSON if isinstance(x, str) and x.startswith(RAW)):
        text = text.replace(json.dumps(raw), raw.removeprefix(RAW))
    return text.encode("utf-8", "surrogatepass")


def changed(tree: Any, rng: random.Random) -> Any:
    """A tree with one random place changed."""
    if isinstance(tree, dict | list) and tree and rng.random() < 0.85:
        key = rng.choice(list(tree)) if isinstance(tree, dict) else rng.randrange(len(tree))
        what = rng.random()
        if what < 0.12:
            del tree[key]
        elif what < 0.2 and isinstance(tree, dict):
            tree[rng.choice(["", "x", f"{key}x", *tree])] = tree.pop(key)
        elif what < 0.25 and isinstance(tree, list):
            tree.insert(key, deepcopy(rng.choice(tree)))
        else:
            tree[key] = changed(tree[key], rng)
        return tree
    return deepcopy(rng.choice(ODD_JSON))  # it may be changed in its turn


def odd_safetensors(content: bytes, rng: random.Random) -> bytes:
    """A safetensors file with an odd header, or odd settings in its metadata."""
    length = int.from_bytes(content[:8], "little")
    header, arrays = json.loads(content[8 : 8 + length]), content[8 + length :]
    metadata = header.get("__metadata__", {})
    what = rng.random()
    if what < 0.1:
        return rng.choice([0, 1, length - 1, length + 1, 2**31, 2**63, 2**64 - 1]).to_bytes(8, "little") + content[8:]
    if what < 0.6 and metadata:
        key = rng.choice(list(metadata))
        metadata[key] = odd_json(metadata[key].encode(), rng).decode("utf-8", "replace")
        text = json.dumps(header).encode()
    elif what < 0.8:
        name = rng.choice([name for name in header if name != "__metadata__"] or [""])
        header.setdefault(name, {})
        field, values = rng.choice(
            [
                ("dtype", ("F64", "F16", "BF16", "F8_E4M3", "I64", "U8", "BOOL", "C64", "X", "", 3)),
                ("shape", ([], [0], [1], [2**62, 4], [2**64], [-1], [1] * 100, "x", None)),
                ("data_offsets", ([0, 0], [0, len(arrays)], [0, 2**63], [8, 4], [-4, 4], [0], "x")),
            ]
        )
        header[name][field] = rng.choice(values)
        text = json.dumps(header).encode()
    else:
        text = odd_json(json.dumps(header).encode(), rng)
    return len(text).to_bytes(8, "little") + text + arrays


def odd_toml(content: bytes, rng: random.Random) -> bytes:
    """Settings of which one has an odd value, or is there twice, or is a table."""
    lines = content.decode().splitlines()
    number = rng.randrange(len(lines))
    name = lines[number].partition(" = ")[0]
    what = rng.random()
    if what < 0.8:
        lines[number] = f"{name} = {rng.choice(ODD_TOML)}"
    elif what < 0.9:
        lines.insert(number, rng.choice([lines[number], f"[{name}]", f"[[{name}]]", f"{name}.x = 1", f'"{name}" = 1']))
    else:
        lines[number] = f"{rng.choice(['x', 'a.b.c', '_' * 9_999, '', name.upper()])} = 1"
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def odd_csv(content: bytes, rng: random.Random) -> bytes:
    """A table with an odd cell, or another delimiter, or columns that are missing or named twice."""
    rows = [line.split(",") for line in content.decode().splitlines()]
    row = rng.choice(rows)
    what = rng.random()
    if what < 0.6:
        row[rng.randrange(len(row))] = rng.choice(ODD_CELLS)
    elif what < 0.7:
        del row[rng.randrange(len(row))]
    elif what < 0.8:
        row.extend(row)
    delimiter = rng.choice([",", ",", ",", ";", "\t", ",,"])
    return "\n".join(delimiter.join(row) for row in rows).encode("utf-8", "surrogatepass")


def odd_zip(content: bytes, rng: random.Random) -> bytes:
    """An archive of arrays with an odd header or content of one, a member too many or too few, or of another kind."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = [(info.filename, archive.read(info)) for info in archive.infolist()]
    number = rng.randrange(len(members))
    name, member = members[number]
    what = rng.random()
    if what < 0.45:
        members[number] = name, odd_npy(member, rng)
    elif what < 0.65:
        members[number] = name, damaged(member, rng, ())[1]
    elif what < 0.75:
        del members[number]
    elif what < 0.85:
        odd = rng.choice([name, "../x.npy", "/x.npy", "x" * 9_999 + ".npy", "images.npy", "labels.npy", "\x1b[31m.npy"])
        members.append((odd, member))
    else:
        members[number] = rng.choice(["images.npy", "labels.npy", "masks.npy", name.upper()]), member
    how = rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", how) as archive:
        for name, member in members:
            info = zipfile.ZipInfo(name)
            info.compress_type = how
            archive.writestr(info, member)
    return file.getvalue()


def odd_npy(content: bytes, rng: random.Random) -> bytes:
    """An array whose header is odd."""
    length = int.from_bytes(content[8:10], "little")
    text = rng.choice(ODD_NPY).encode()
    version = rng.choice([b"\x01\x00", b"\x01\x00", b"\x02\x00", b"\x03\x00", b"\x09\x00"])
    size = struct.pack("<H" if version == b"\x01\x00" else "<I", rng.choice([len(text), len(text), 0, 65_535]))
    return b"\x93NUMPY" + version + size + text + content[10 + length :]


def odd_idx(content: bytes, rng: random.Random) -> bytes:
    """An IDX file that announces other sizes, types or dimensions."""
    found = bytearray(content)
    what = rng.random()
    if what < 0.3:
        found[rng.choice([0, 1, 2, 3])] = rng.choice([0, 1, 3, 8, 9, 11, 13, 14, 255])
    else:
        number = rng.choice([0, 1, 2, 255, 2**16, 2**31, 2**32 - 1])
        begin = 4 + 4 * rng.randrange(content[3])
        found[begin : begin + 4] = number.to_bytes(4, "big")
    return bytes(found)


def gzipped(craft: Craft) -> Craft:
    """The same within gzip, zipped again, or damaged within and zipped again."""

    def odd(content: bytes, rng: random.Random) -> bytes:
        within = gzip.decompress(content)
        if rng.random() < 0.1:  # far more than it announces
            return gzip.compress(within + bytes(2**27), 1)
        return gzip.compress(craft(within, rng) if rng.random() < 0.6 else damaged(within, rng, ())[1], 1)

    return odd


def odd_tar(content: bytes, rng: random.Random) -> bytes:
    """An archive with an odd header of one of its files, or odd content of it, its header's sum made again."""
    file = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        members = [(member, tar.extractfile(member).read()) for member in tar]  # type: ignore[union-attr]
    number = rng.randrange(len(members))
    for i, (member, within) in enumerate(members):
        if i == number:
            member, within = odd_member(member, within, rng)
        head = bytearray(member.tobuf(rng.choice([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]), errors="replace"))
        if i == number and rng.random() < 0.4:
            begin, size = rng.choice(
                [(100, 8), (108, 8), (116, 8), (124, 12), (136, 12), (156, 1), (257, 8), (386, 109)]
            )
            odd = rng.choice([b"7" * size, b"\xff" * size, b"\x80" + bytes(size - 1), b" " * size, rng.randbytes(size)])
            head[begin : begin + size] = odd[:size]
            head[148:156] = b"        "
            head[148:156] = b"%06o\0 " % (sum(head[:512]) % 2**18)
        file.write(bytes(head) + within + bytes(-len(within) % 512))
    file.write(bytes(1024))
    return file.getvalue()


def odd_member(member: tarfile.TarInfo, within: bytes, rng: random.Random) -> tuple[tarfile.TarInfo, bytes]:
    what = rng.randrange(6)
    if what == 0:
        member.size = rng.choice([0, 1, len(within) + 600, 2**25, 2**31, 2**33 - 1, 2**40])
    elif what == 1:
        member.type = rng.choice([bytes([x]) for x in b"0123456789xgLKSDNVX\0"])
        member.linkname = rng.choice(["/etc/passwd", "../../x", member.name, ""])
    elif what == 2:
        member.name = rng.choice(
            ["/etc/x", "../x", "", "x" * 9_999, "\x1b[31m", f"a/{member.name}", "images/../images"]
        )
    elif what == 3:
        member.pax_headers = rng.choice(
            [{"size": "9" * 40}, {"size": "-1"}, {"path": "\x00"}, {"x": "y" * 2**21}, {"GNU.sparse.size": "9" * 20}]
        )
        if rng.random() < 0.3:
            member.pax_headers = {**member.pax_headers, "GNU.sparse.major": "1", "GNU.sparse.minor": "0"}
    else:
        within = damaged(within, rng, ())[1]
        member.size = len(within)
    return member, within


def odd_png(content: bytes, rng: random.Random) -> bytes:
    """A PNG with an odd chunk, whose checksum is made again."""
    chunks, begin = [], 8
    while begin < len(content):
        (length,) = struct.unpack(">I", content[begin : begin + 4])
        chunks.append([content[begin + 4 : begin + 8], content[begin + 8 : begin + 8 + length]])
        begin += 12 + length
    number, what = rng.randrange(len(chunks)), rng.random()
    if what < 0.3:
        head = bytearray(chunks[0][1])
        begin = rng.choice([0, 4, 8, 9, 10, 11, 12])
        size = 4 if begin < 8 else 1
        head[begin : begin + size] = rng.choice([0, 1, 3, 16, 255, 2**16, 2**31 - 1, 2**32 - 1]).to_bytes(8, "big")[
            -size:
        ]
        chunks[0][1] = bytes(head)
    elif what < 0.5:
        chunks[number][1] = damaged(chunks[number][1] or b"\0", rng, ())[1]
    elif what < 0.6:
        del chunks[number]
    elif what < 0.7:
        chunks.insert(number, list(rng.choice(chunks)))
    else:
        kind = rng.choice(
            [b"tEXt", b"zTXt", b"iTXt", b"iCCP", b"eXIf", b"acTL", b"fdAT", b"tRNS", b"PLTE", b"gAMA", b"XXXX"]
        )
        bomb = b"a\0\0" + zlib.compress(bytes(2**26), 1)
        chunks.insert(max(1, number), [kind, rng.choice([b"", bytes(8), bomb, rng.randbytes(50), b"\xff" * 4])])
    pieces = (struct.pack(">I", len(c)) + k + c + struct.pack(">I", zlib.crc32(k + c)) for k, c in chunks)
    return content[:8] + b"".join(pieces)
