"""Try published libraries on the laws, and keep what the laws reported in `results/scoreboard/`.

    make scoreboard

Run it with the Python of an environment that has the packages of requirements.txt: `libraries.toml` says which
adapter belongs to which package. Each configuration is one run of the laws up to its level, in one thread and in a
process of its own. A package that cannot be imported is kept too, with the error. `page.py` then writes the page.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
KEPT = HERE.parents[1] / "results" / "scoreboard"
EXAMPLES = 10
FRAMEWORKS = ("torch", "jax", "flax", "numpy")


def libraries() -> list[dict[str, Any]]:
    """Return the entries of libraries.toml."""
    return tomllib.loads((HERE / "libraries.toml").read_text("utf-8"))["libraries"]


def versions(package: str) -> dict[str, Any]:
    """Return the version of a package, today's date, and the versions of what it runs on."""
    found = {"package": package, "version": metadata.version(package)}
    found |= {"date": datetime.now(UTC).date().isoformat(), "python": sys.version.split()[0]}
    for name in FRAMEWORKS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def environment() -> dict[str, str]:
    """Return the environment of a run: one thread, the adapters on the path, no accelerator."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    jax = {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false"}
    return os.environ | threads | jax | {"PYTHONPATH": str(HERE)}


def try_laws(adapter: str, level: str, package: str) -> str:
    """Run the laws up to a level on an adapter, keep the report, and return its summary.

    Raise SystemExit if the laws made no report.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pytest", "-q", "--tb=no", "-p", "no:cacheprovider", "--pyargs", "refca_spec"]
        command += ["--refca-backend", f"adapters.{adapter}", "--refca-level", level]
        command += ["--refca-examples", str(EXAMPLES), "--refca-report", folder]
        done = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, check=False)
        report = Path(folder) / "report.json"
        if done.returncode > 1 or not report.exists():  # 1: some laws failed
            sys.exit(f"{adapter}: the laws made no report:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        out = KEPT / adapter
        out.mkdir(parents=True, exist_ok=True)
        shutil.copy(report, out / "report.json")
    write(out / "run.json", versions(package) | {"level": level, "examples": EXAMPLES})
    return json.loads((out / "report.json").read_text("utf-8"))["summary"]


def try_import(package: str, module: str) -> str:
    """Import a package that cannot be used, keep the error and its modules, and return the error."""
    done = subprocess.run(
        [sys.executable, "-c", f"import {module}"], env=environment(), capture_output=True, text=True, check=False
    )
    error = done.stderr.strip().splitlines()[-1] if done.returncode else ""
    files = sorted(str(path) for path in metadata.files(package) or () if path.suffix == ".py")
    out = KEPT / package
    out.mkdir(parents=True, exist_ok=True)
    write(out / "run.json", versions(package) | {"import": module, "error": error, "modules": files})
    return error or "it can be imported"


def write(path: Path, values: dict[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=2) + "\n", "utf-8")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Try published libraries on the laws and keep the reports.")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="adapters or packages to try; default: all")
    args = parser.parse_args(argv)
    for library in libraries():
        package = library["package"]
        for configuration in library.get("configurations", ()):
            adapter = configuration["adapter"]
            if not args.only or adapter in args.only:
                print(f"{adapter}: {try_laws(adapter, configuration['level'], package)}", flush=True)
        if "module" in library and (not args.only or package in args.only):
            print(f"{package}: {try_import(package, library['module'])}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
