"""Measuring refca on a GPU, from the checkout: `make gpu-run`, `make gpu-test`, `make gpu-bench`."""
