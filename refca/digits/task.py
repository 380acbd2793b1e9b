"""The task of the article: self-classifying digits."""

from __future__ import annotations

from refca.digits.settings import DigitsExperiment
from refca.training.task import Task

TASK = Task(
    name="digits",
    settings=DigitsExperiment,
    default_experiment="digits-l2-noise",
    training_module="refca.digits.training",
    report_module="refca.digits.report",
    prediction_module="refca.digits.prediction",
    robustness_module="refca.digits.robustness_report",
    validation_module="refca.digits.validation",
)
