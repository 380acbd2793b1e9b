"""The IoU of two predictions that look at no photograph: floors for what cells or networks reach.

Letters: N photographs, H×W pixels, L labels.
"""

from __future__ import annotations

import numpy as np

from refca.data import Photographs
from refca.definition.metrics import count_overlaps, ratio


def floors(train: Photographs, test: Photographs, labels: int) -> dict[str, np.ndarray]:
    """Return the IoU of each class, (L,) each, of two fixed label maps on all pixels of the test photographs.

    "everywhere" has the most frequent label of the training photographs at every pixel, "each pixel" at each pixel
    the label that is most frequent there. Both must have the same size. Pixels without a label are not counted.
    """
    pixels = np.stack([(train.trimaps == label).sum(0) for label in range(labels)])  # (L, H, W)
    everywhere = np.full(pixels.shape[1:], pixels.sum((1, 2)).argmax())
    return {
        name: iou_of_map(x, test, labels)
        for name, x in {"everywhere": everywhere, "each pixel": pixels.argmax(0)}.items()
    }


def iou_of_map(predicted: np.ndarray, test: Photographs, labels: int) -> np.ndarray:
    """Return the IoU of each class, (L,), of one label map (H, W) on all test photographs."""
    counts = np.zeros((2, labels), np.int64)
    for n in range(len(test)):
        true = test.labels([n])[0]
        counts += count_overlaps(predicted[true >= 0], true[true >= 0], labels)
    return np.asarray(ratio(*counts))
