"""The program that compares predicted label maps with masks."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

PROGRAM = Path(__file__).parent.parent / "benchmarks/iou.py"


def test_iou_is_of_all_pixels_and_a_mean_over_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = importlib.util.spec_from_file_location("iou_benchmark", PROGRAM)
    assert spec
    assert spec.loader
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    folders = [tmp_path / name for name in ("images", "masks", "predicted")]
    for folder in folders:
        folder.mkdir()
    for name, true, predicted in (("large", 40, 40), ("small", 10, 20)):  # IoU 1 and 1/2; 50/60 in all
        mask, found = (np.arange(100).reshape(10, 10) < count for count in (true, predicted))
        Image.fromarray(np.where(mask, 90, 10).astype(np.uint8)).save(folders[0] / f"{name}.png")
        Image.fromarray(mask.astype(np.uint8) * 255).save(folders[1] / f"{name}.png")
        np.save(folders[2] / f"{name}-labels.npy", found.astype(np.uint8))
    monkeypatch.setattr(sys, "argv", ["iou.py", *map(str, folders)])
    program.main()
    assert capsys.readouterr().out.splitlines() == [
        "predicted: all pixels 0.833, mean over 2 pictures 0.750",
        "Otsu's threshold: all pixels 1.000, mean over 2 pictures 1.000",
    ]
