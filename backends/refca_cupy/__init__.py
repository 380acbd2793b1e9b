"""The cell on CUDA. `gpu.py` is the backend; `emulated.py` is the same kernels on a processor, for checking."""
