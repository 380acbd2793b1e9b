"""The cell on CUDA: `gpu.py` is the backend; `emulated.py` has its kernels on a processor, for checking."""
