"""Colours as people see them, with normal sight and without one of the three kinds of cones.

Source: G. Machado, M. Oliveira, L. Fernandes, "A Physiologically-based Model for Simulation of Color Vision
Deficiency", 2009 (matrices for linear RGB); CIELAB for differences; WCAG 2 for contrast.

Letters: N colours, V kinds of sight.
"""

from __future__ import annotations

import numpy as np

SIGHT = {  # rows of a matrix for linear red, green and blue
    "normal": "1 0 0 0 1 0 0 0 1",
    "protanopia": "0.152286 1.052583 -0.204868 0.114503 0.786281 0.099216 -0.003882 -0.048116 1.051998",
    "deuteranopia": "0.367322 0.860646 -0.227968 0.280085 0.672501 0.047413 -0.011820 0.042940 0.968881",
    "tritanopia": "1.255528 -0.076749 -0.178779 -0.078411 0.930809 0.147602 0.004733 0.691367 0.303900",
}
MATRICES = np.array([np.array(row.split(), float).reshape(3, 3) for row in SIGHT.values()])
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
WHITE = np.array([0.9505, 1, 1.089])


def linear(colours: np.ndarray) -> np.ndarray:
    """Return colours (..., 3) from 0 to 255 as linear light from 0 to 1."""
    x = np.asarray(colours) / 255
    return np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)


def seen(colours: np.ndarray) -> np.ndarray:
    """Return the CIELAB coordinates of colours (N, 3) with each kind of sight, (V, N, 3)."""
    light = np.clip(np.einsum("vij,nj->vni", MATRICES, linear(colours)), 0, 1)
    xyz = light @ TO_XYZ.T / WHITE
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    lightness, a, b = 116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])
    return np.stack([lightness, a, b], axis=-1)


def differences(some: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the smallest CIELAB difference of any kind of sight between colours (N, 3) and (M, 3): (N, M)."""
    apart = np.linalg.norm(seen(some)[:, :, None] - seen(others)[:, None], axis=-1)
    found: np.ndarray = apart.min(axis=0)
    return found


def contrasts(colours: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Return the contrast of colours (N, 3) with a background (3,), from 1 to 21: (N,)."""
    luminance, other = linear(colours) @ TO_XYZ[1], linear(background) @ TO_XYZ[1]
    found: np.ndarray = (np.maximum(luminance, other) + 0.05) / (np.minimum(luminance, other) + 0.05)
    return found
