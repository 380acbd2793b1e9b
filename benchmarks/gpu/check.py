"""Describe the GPU of this machine, and say what the machine lacks.

python3 -m gpu.check [--cupy]     exit code 2 and one sentence, unless training can run here
--cupy: and unless CuPy works on a GPU here
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from importlib.metadata import version

NEEDED = ("autograd", "joblib", "numpy", "safetensors", "scipy", "sklearn", "threadpoolctl", "tqdm")
TRAINING = ("matplotlib", "PIL", "pooch", "platformdirs")  # needed besides to train and to measure
PACKAGES = {"sklearn": "scikit-learn", "PIL": "pillow"}  # where the module's name is another


def missing(*more: str) -> str:
    """One sentence that says which libraries to carry here, empty if none is missing."""
    absent = [name for name in (*NEEDED, *more) if importlib.util.find_spec(name) is None]
    if not absent:
        return ""
    names = " ".join(PACKAGES.get(name, name) for name in absent)
    return (
        f"{sys.executable} lacks {names}: where there is a network, pip install --no-deps --target carried "
        f"{names}, and here add PYTHONPATH=carried to the make command"
    )


def no_gpu() -> str:
    """One sentence that says why CuPy cannot work here, empty if it can."""
    try:
        import cupy

        cupy.zeros(1).sum().get()
    except Exception as error:  # of many kinds: no library, no driver, no device, another CUDA
        cause = " ".join(str(error).split()) or type(error).__name__
        return f"no GPU works here: {cause}; GPU_PYTHON=... names another Python"
    return ""


def describe_device() -> dict[str, str]:
    """The GPU, its driver, and the libraries on whose versions results depend."""
    import cupy

    runtime = cupy.cuda.runtime
    return {
        "GPU": runtime.getDeviceProperties(runtime.getDevice())["name"].decode(),
        "driver": f"{driver()}, for CUDA {dotted(runtime.driverGetVersion())}",
        "CuPy": f"{cupy.__version__}, NumPy {version('numpy')}",
        "CUDA runtime": dotted(runtime.runtimeGetVersion()),
    }


def driver() -> str:
    """The driver's version, from nvidia-smi."""
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(query, capture_output=True, text=True, check=True).stdout.split()[0]
    except (OSError, IndexError, subprocess.CalledProcessError):
        return "unknown"


def dotted(number: int) -> str:
    """Turn CUDA's 13000 into 13.0."""
    return f"{number // 1000}.{number % 1000 // 10}"


if __name__ == "__main__":
    if why := missing(*TRAINING) or ("--cupy" in sys.argv and no_gpu()):
        print(f"refca: {why}", file=sys.stderr)
        sys.exit(2)
