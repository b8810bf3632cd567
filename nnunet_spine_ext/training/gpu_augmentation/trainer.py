"""`<Trainer>GPUAug`: any trainer of ours, with the augmentation of its training batches on the GPU.

nnU-Net's workers then only cut windows. Validation batches, which are hardly changed, stay with the workers.
"""

from __future__ import annotations

from typing import Any

from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform

from nnunet_spine_ext.training.gpu_augmentation.pipeline import BatchPipeline, NoBatchFormError
from nnunet_spine_ext.training.trainer import SpineTrainer


class GPUAugmentation(SpineTrainer):
    """A base put before a trainer's own (`training/variants.py`); the distribution of the windows is the trainer's."""

    batch_pipeline: BatchPipeline | None = None
    """None where the workers augment: without a GPU, and where a transform has no form for a batch."""

    @property
    def augments_batches(self) -> bool:
        """Whether the device is one that augments faster than the workers do."""
        return bool(self.device.type == "cuda")

    def get_training_transforms(
        self,
        patch_size: Any,  # noqa: ANN401
        rotation_for_DA: Any,  # noqa: ANN401
        deep_supervision_scales: list[list[float]] | None,
        mirror_axes: tuple[int, ...],
        do_dummy_2d_data_aug: bool,
        use_mask_for_norm: list[bool] | None = None,
        is_cascaded: bool = False,
        foreground_labels: list[int] | None = None,
        regions: list[Any] | None = None,
        ignore_label: int | None = None,
    ) -> BasicTransform | None:
        """Return what the workers are to do: nothing, or all, where the GPU cannot; the arguments are nnU-Net's."""
        pipeline: BasicTransform = super().get_training_transforms(
            patch_size,
            rotation_for_DA,
            deep_supervision_scales,
            mirror_axes,
            do_dummy_2d_data_aug,
            use_mask_for_norm,
            is_cascaded,
            foreground_labels,
            regions,
            ignore_label,
        )
        reason = self._take_over(pipeline)
        if reason is None:
            self.print_to_log_file("Augmentation: on the GPU, whole batches.", add_timestamp=False)
            return None
        self.print_to_log_file(f"Augmentation: by nnU-Net's workers on the CPU, as {reason}.", add_timestamp=False)
        return pipeline

    def _take_over(self, pipeline: BasicTransform) -> str | None:
        """Set the pipeline for batches; return why not, if not."""
        self.batch_pipeline = None
        if not self.augments_batches:
            return "there is no GPU"
        try:
            self.batch_pipeline = BatchPipeline(pipeline)
        except NoBatchFormError as error:
            return str(error)
        return None

    def train_step(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Augment a batch, unless the workers did; train it."""
        if self.batch_pipeline is not None:
            batch = self.batch_pipeline(batch, self.device)
        return super().train_step(batch)
