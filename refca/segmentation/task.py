"""The task of the paper: segmenting photographs."""

from __future__ import annotations

from refca.segmentation.settings import SegmentationExperiment
from refca.training.task import Task

TASK = Task(
    name="segmentation",
    settings=SegmentationExperiment,
    default_experiment="pets-48-small",
    training_module="refca.segmentation.training",
    report_module="refca.segmentation.report",
    prediction_module="refca.segmentation.prediction",
    validation_module="refca.segmentation.validation",
)
