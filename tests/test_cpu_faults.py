"""The cpu backend where processes fork while it computes, and where its cache cannot be used or is damaged."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}

MODULE = "from refca_cpu.compiled import njit\n\n\n@njit(cache=True)\ndef double(x):\n    return 2 * x\n"


def run(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], env=ENVIRONMENT | environment, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize("damage", ["cut", "empty", "other", "half"])
@pytest.mark.parametrize("kind", ["*.nbi", "*.nbc"])
def test_a_damaged_file_of_the_cache_is_made_again(tmp_path: Path, damage: str, kind: str) -> None:
    (tmp_path / "some.py").write_text(MODULE)
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import some; print(some.double(21))"
    kept = {"NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    assert run(code, **kept) == "42\n"
    (file,) = (tmp_path / "cache").rglob(kind)
    content = file.read_bytes()
    changed = {"cut": content[:-5], "empty": b"", "other": b"no pickle", "half": content[: len(content) // 2]}
    file.write_bytes(changed[damage])
    assert run(code, **kept) == "42\n"
    assert run(code, **kept) == "42\n"


def calls_what_has_changed(folder: Path) -> tuple[str, dict[str, str]]:
    """A program that prints 21 times 3, and was compiled when it printed 21 times 2; and its environment."""
    called = MODULE.replace("cache=True", "")
    (folder / "called.py").write_text(called)
    (folder / "some.py").write_text(
        MODULE.replace("\n\n\n", "\nimport called\n\n\n", 1).replace("2 * x", "called.double(x)")
    )
    code = f"import sys; sys.path.insert(0, {str(folder)!r}); import some; print(some.double(21))"
    kept = {"NUMBA_CACHE_DIR": str(folder / "cache")}
    assert run(code, **kept) == "42\n"
    (folder / "called.py").write_text(called.replace("2 * x", "3 * x"))
    return code, kept


def test_a_function_is_compiled_again_when_one_that_it_calls_has_changed(tmp_path: Path) -> None:
    code, kept = calls_what_has_changed(tmp_path)
    assert run(code, **kept) == "63\n"


def test_a_stop_between_the_index_of_the_cache_and_its_code_leaves_no_old_code(tmp_path: Path) -> None:
    code, kept = calls_what_has_changed(tmp_path)
    stopped = (
        "import os, numba.core.caching as caching\ncaching.IndexDataCacheFile._save_data = lambda *given: os._exit(0)\n"
    )
    assert run(stopped + code, **kept) == ""
    assert run(code, **kept) == "63\n"


def test_with_nowhere_to_write_the_cache_is_of_the_process(tmp_path: Path) -> None:
    (tmp_path / "some.py").write_text(MODULE)
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import some, numba\n"
        "print(some.double(21), numba.config.CACHE_DIR)"
    )
    found, folder = run(code, NUMBA_CACHE_LOCATOR_CLASSES="_IPythonCacheLocator", TMPDIR=str(tmp_path)).split()
    assert found == "42"
    assert Path(folder).parent == tmp_path
    assert not Path(folder).exists()


def test_a_child_forked_while_another_thread_computes_computes_too() -> None:
    code = (
        "import os, threading, warnings\n"
        "from refca_cpu import blas\n"
        "warnings.simplefilter('ignore')\n"
        "held, done = threading.Event(), threading.Event()\n"
        "def compute():\n"
        "    with blas.single_threaded():\n"
        "        held.set(); done.wait()\n"
        "thread = threading.Thread(target=compute); thread.start(); held.wait()\n"
        "for _ in range(5):\n"
        "    child = os.fork()\n"
        "    if child == 0:\n"
        "        import signal; signal.alarm(60)\n"
        "        with blas.single_threaded(): pass\n"
        "        os._exit(0)\n"
        "    print(os.waitpid(child, 0)[1])\n"
        "done.set(); thread.join()\n"
    )
    assert run(code) == "0\n" * 5


def test_children_forked_while_another_thread_evolves_cells_do_not_hang() -> None:
    code = (
        "import os, threading, warnings, refca\n"
        "from test_cpu import cpu, problem\n"
        "warnings.simplefilter('ignore')\n"
        "cell, params, image, state, _, _ = problem(3)\n"
        "evolve = lambda: cpu.evolve(cell, params, image, state, refca.Streams(1), 2).tobytes()\n"
        "expected, ended = evolve(), threading.Event()\n"
        "def compute():\n"
        "    while not ended.is_set(): evolve()\n"
        "thread = threading.Thread(target=compute); thread.start()\n"
        "codes = []\n"
        "for _ in range(60):\n"
        "    child = os.fork()\n"
        "    if child == 0:\n"
        "        import signal; signal.alarm(30)\n"
        "        os._exit(0 if evolve() == expected else 1)\n"
        "    codes.append(os.waitpid(child, 0)[1])\n"
        "ended.set(); thread.join()\n"
        "print(sum(code != 0 for code in codes))\n"
    )
    assert run(code) == "0\n"


def test_cells_are_computed_while_the_interpreter_ends() -> None:
    code = (
        "import atexit, refca\n"
        "from test_cpu import cpu, problem\n"
        "cell, params, image, state, _, _ = problem(40)\n"
        "atexit.register(lambda: print(cpu.evolve(cell, params, image, state, refca.Streams(1), 3).shape))\n"
    )
    assert run(code, REFCA_THREADS="2") == "(40, 12, 10, 19)\n"
