"""Words by which names of folders and files say what they hold: pictures, or masks. The commonest come first.

Source: refca's own; names as published data sets have them.
"""

from __future__ import annotations

IMAGE_WORDS = (
    *("images", "image", "imgs", "img", "pictures", "picture", "photos", "photo", "inputs", "input", "raw"),
    *("bilder", "bild", "fotos", "foto"),
    *("original", "scans", "scan", "slices", "leftimg8bit", "rgb", "sat"),
)
MASK_WORDS = (
    *("masks", "mask", "labels", "label", "annotations", "annotation", "annots", "annot", "annotated", "labelled"),
    *("segmentations", "segmentation", "seg", "groundtruth", "gt", "gtfine", "trimaps", "trimap", "targets", "target"),
    *("masken", "maske", "masques", "masque"),
)
IMAGE_FOLDERS = (*IMAGE_WORDS, "jpegimages", "x")
MASK_FOLDERS = (*MASK_WORDS, "segmentationclass", "ground_truth", "instances", "y", "outputs", "output")
