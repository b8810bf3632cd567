"""What nnU-Net itself plans for a dataset: its file, or the same computed without writing one."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from typing import Any

from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

from nnunet_spine_ext.planning.simulation import fake_mode


class _StockPlanner(ExperimentPlanner):
    """nnU-Net's planner, without the file and on networks without data."""

    def static_estimate_VRAM_usage(
        self,
        patch_size: Sequence[int],
        input_channels: int,
        output_channels: int,
        arch_class_name: str,
        arch_kwargs: Mapping[str, Any],
        arch_kwargs_req_import: Sequence[str],
    ) -> int:
        """Return nnU-Net's own estimate, as nnU-Net does but for its choice of threads."""
        with fake_mode():
            network = get_network_from_plans(
                arch_class_name, arch_kwargs, arch_kwargs_req_import, input_channels, output_channels, allow_init=False
            )
            return int(network.compute_conv_feature_map_size(patch_size))

    def save_plans(self, plans: dict[str, Any]) -> None:
        """Write nothing."""


def stock_plans(dataset_id: int) -> dict[str, Any]:
    """Return the plans that `nnUNetv2_plan_experiment` would write; nothing is written."""
    with redirect_stdout(io.StringIO()):
        plans: dict[str, Any] = _StockPlanner(dataset_id).plan_experiment()
    return plans
