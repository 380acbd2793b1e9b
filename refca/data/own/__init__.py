"""Data of the user's own: what is at a path is found out, checked and loaded.

A label for each picture (classification):

    FOLDER/CLASS/*.png            a folder for each class; or FOLDER/train/CLASS and FOLDER/test/CLASS
    FOLDER/labels.csv             columns file and label
    FOLDER/*-ubyte[.gz]           IDX files of any name, as MNIST's
    FILE.npz                      arrays images and labels; or train_images, train_labels, test_images, test_labels

A label for each pixel (segmentation):

    FOLDER/images, FOLDER/masks   files of the same names; or FOLDER/train/images and so on
    FOLDER/ID/images, ID/masks    a folder for each picture, one mask file for each thing in it
    FOLDER/*.jpg, *_mask.png      pictures and masks side by side
    IMAGES::MASKS                 any two folders or patterns, as 'scans/*.tif::drawn/*.png'
    FILE.csv                      columns image and mask, and perhaps split
    FILE.npz                      arrays images and masks; or train_images, train_masks, test_images, test_masks

Source: `docs/own-data.md`.
"""

from __future__ import annotations

from refca.data.own.find import Found, check_known, found_at, kind_at, load_own
from refca.data.own.settings import OwnSettings

__all__ = ["Found", "OwnSettings", "check_known", "found_at", "kind_at", "load_own"]
