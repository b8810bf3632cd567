"""What must stop a training, with the reason in words."""

from __future__ import annotations

from typing import NoReturn

from nnunet_spine_ext.errors import SpineExtError


class NonFiniteLossError(SpineExtError):
    """The loss became NaN or infinite."""


def stop_for_loss(
    value: float, *, epoch: int, iteration: int, network: str, learning_rate: float, half_precision: bool
) -> NoReturn:
    """Raise the error that says where the loss went wrong and what to try.

    Under automatic mixed precision an infinite *gradient* is normal: the scaler skips that step. The loss itself must
    stay finite, in half precision as well.
    """
    precision = "float16 (automatic mixed precision)" if half_precision else "float32"
    raise NonFiniteLossError(
        f"The loss became {value} in epoch {epoch}, iteration {iteration} (network {network}, {precision}, learning "
        f"rate {learning_rate:.3g}). The training stops here; checkpoints written before it are sound.\n"
        "What to try: continue from the last checkpoint with --c; check the images for NaN or absurd values "
        "(nnUNetv2_plan_and_preprocess --verify_dataset_integrity); lower the learning rate (recipe of the trainer)."
    )
