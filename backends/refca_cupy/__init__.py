"""The cell on CUDA. `gpu.py` is the backend; `emulated.py` runs its kernels on a processor, to check them."""
