"""All that arithmetic says of a list of questions: columns, footprint and roofline side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from predictor.columns import InferenceColumns, TrainingColumns, inference_columns, training_columns
from predictor.footprint.inference import InferenceFootprint, inference_footprint
from predictor.footprint.parts import Footprint
from predictor.footprint.training import training_footprint
from predictor.forecast import Question
from predictor.gather import Flags, Floats
from predictor.roofline.inference import InferenceTime, inference_roofline
from predictor.roofline.training import TrainingTime, training_roofline
from predictor.workloads.software import SoftwareColumns, software_columns


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingArithmetic:
    """Training questions, one array cell each."""

    columns: TrainingColumns
    software: SoftwareColumns
    footprint: Footprint
    time: TrainingTime


@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceArithmetic:
    """Inference questions, one array cell each."""

    columns: InferenceColumns
    software: SoftwareColumns
    footprint: InferenceFootprint
    time: InferenceTime

    @property
    def batch(self) -> Floats:
        """Sequences in flight over all replicas, as asked or chosen by memory."""
        return self.footprint.batch


def training_arithmetic(questions: Sequence[Question], *, last_stage: Flags | None = None) -> TrainingArithmetic:
    """Footprint and roofline of training questions; memory of the last pipeline stage where `last_stage` is set."""
    columns = training_columns(questions)
    return TrainingArithmetic(
        columns=columns,
        software=software_columns(questions),
        footprint=training_footprint(columns, last_stage),
        time=training_roofline(columns),
    )


def inference_arithmetic(questions: Sequence[Question]) -> InferenceArithmetic:
    """Footprint and roofline of inference questions, at the batch asked or the one that memory allows."""
    columns = inference_columns(questions)
    footprint = inference_footprint(columns)
    return InferenceArithmetic(
        columns=columns,
        software=software_columns(questions),
        footprint=footprint,
        time=inference_roofline(columns, footprint.batch),
    )
