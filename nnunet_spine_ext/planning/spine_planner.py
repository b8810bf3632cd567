"""nnU-Net's experiment planner with counted bytes in place of its estimate, and a choice about thick slices.

nnU-Net compares the size of a network's feature maps with a reference that was measured for its own network. Here both
sides are bytes: the counted memory of a real training step, and the target. The loop over patch sizes, the pooling,
the features and the limits of the batch size stay nnU-Net's.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from copy import deepcopy
from typing import Any, Literal

from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.json_export import recursive_fix_for_json_export

from nnunet_spine_ext.errors import PlanError
from nnunet_spine_ext.planning.batch import largest_batch
from nnunet_spine_ext.planning.counting import ConfigurationCounter, UnsuitableError
from nnunet_spine_ext.planning.depth import (
    DepthMode,
    Topology,
    full_depth_topologies,
    in_plane_shortage,
    largest_that_fits,
    shrinking_topologies,
    through_plane_axis,
)
from nnunet_spine_ext.planning.fixed import FixedByRecipe, fixed_topology
from nnunet_spine_ext.planning.memory import GB
from nnunet_spine_ext.planning.slice_patches import (
    SLICES_CONFIGURATION,
    check_takes_slices,
    slices_of_a_patch,
)
from nnunet_spine_ext.planning.trainers import (
    accepted_patch,
    network_class_of,
    network_options_of,
    plans_name_of,
)

MIN_STAGES = 3
"""With two stages nnU-Net's deep supervision has one output, and gives it the weight 0 / 0."""

Axes = Sequence[float]
Plan = dict[str, Any]


class SpinePlanner(ExperimentPlanner):
    """Plans a dataset for one trainer so that the counted training step fits the memory target.

    Attributes:
        notes: what was decided and why, one sentence each.
        depth_chosen: configuration → "full" or "stock".
    """

    def __init__(
        self,
        dataset_name_or_id: str | int,
        gpu_memory_target_in_gb: float = 8,
        *,
        trainer: type[nnUNetTrainer],
        depth: DepthMode = "auto",
        configurations: Sequence[str] | None = None,
        plans_name: str | None = None,
        on_count: Callable[[], object] = lambda: None,
    ) -> None:
        name = plans_name or plans_name_of(trainer)
        super().__init__(dataset_name_or_id, gpu_memory_target_in_gb=gpu_memory_target_in_gb, plans_name=name)
        network = network_class_of(trainer)
        if network is not None:
            self.UNet_class = network
        # Target and estimate in bytes for the smallest batch (nnU-Net's formula has a 2 for its own, which is two), so
        # that the loop ends where that fits.
        self.UNet_reference_val_2d = self.UNet_reference_val_3d = GB
        self.UNet_reference_val_corresp_GB = 1
        self.UNet_reference_val_corresp_bs_2d = self.UNet_reference_val_corresp_bs_3d = 2
        self.trainer = trainer
        self.depth: DepthMode = depth
        self.fixed = FixedByRecipe.of(trainer)
        self._nnunets_smallest_batch = int(self.UNet_min_batch_size)
        if configurations is None and self.fixed.configuration is not None:
            configurations = (self.fixed.configuration,)
        self.wanted, self.implied = _with_parents(configurations)
        self.counter = ConfigurationCounter(trainer, dataset=self.dataset_json, on_count=on_count)
        self.notes: list[str] = []
        self.depth_chosen: dict[str, Literal["full", "stock"]] = {}
        self._counting = True
        self._left_out: set[str] = set()
        self._uncounted: set[str] = set()
        self._dataset_voxels: dict[str, float] = {}
        self._reasons: dict[str, str] = {}

    @property
    def target_bytes(self) -> float:
        """Return the memory target."""
        return float(self.UNet_vram_target_GB) * GB

    def make_plans(self) -> Plan:
        """Return the plans, for the wanted configurations only, without writing a file.

        Raises:
            PlanError: nothing fits the target, or a fixed patch cannot be pooled.
        """
        with redirect_stdout(io.StringIO()):  # nnU-Net prints whole plans, and a line for each patch it tries
            plans: Plan = self.plan_experiment()
        return plans

    def save_plans(self, plans: Plan) -> None:
        """Complete the plans instead of writing them: nnU-Net calls this when it has planned."""
        configurations = plans["configurations"]
        for name in list(configurations):
            if name in self._left_out or (self.wanted is not None and name not in self.wanted):
                del configurations[name]
        if self.wanted is not None and SLICES_CONFIGURATION in self.wanted:
            configurations[SLICES_CONFIGURATION] = self._slices_plan(configurations["2d"])
        for name, configuration in configurations.items():
            if "inherits_from" not in configuration:
                configuration["batch_size"] = self._batch_size(name, configuration)
        recursive_fix_for_json_export(plans)
        self.notes += [f"{name}: {self._reasons[name]}" for name in configurations if name in self._reasons]

    def generate_data_identifier(self, configuration_name: str) -> str:
        """Return the configuration's own name: which preprocessed data it can share is decided when it is written."""
        return configuration_name

    def get_plans_for_configuration(
        self,
        spacing: Axes,
        median_shape: Axes,
        data_identifier: str,
        approximate_n_voxels_dataset: float,
        _cache: dict[str, Any],
    ) -> Plan:
        """Return one configuration, called `data_identifier`, whose smallest batch fits the target."""
        name = data_identifier
        self.UNet_min_batch_size = self._smallest_batch(name)  # read by the loop of nnU-Net
        if self._is_needed(name):
            try:
                plan = self._needed_plan(name, spacing, median_shape, approximate_n_voxels_dataset)
            except UnsuitableError as error:
                self._leave_out(name, error)
                plan = self._uncounted_plan(name, spacing, median_shape, approximate_n_voxels_dataset)
        else:
            plan = self._uncounted_plan(name, spacing, median_shape, approximate_n_voxels_dataset)
        if self.fixed.patch_of(name) is None:
            plan["patch_size"] = accepted_patch(self.trainer, plan)
        self._dataset_voxels[name] = approximate_n_voxels_dataset
        return plan

    def _leave_out(self, name: str, error: UnsuitableError) -> None:
        """Do without a configuration that the trainer cannot train, unless it was asked for."""
        if name in self.implied:
            self._uncounted.add(name)
            self._reasons[name] = f"not counted, only there for {SLICES_CONFIGURATION} to inherit from. {error}"
        elif self.wanted is not None:
            raise error
        else:
            self._left_out.add(name)
            self.notes.append(f"{name}: left out. {error}")

    def _is_needed(self, name: str) -> bool:
        """Return whether to count: nnU-Net's 3D configurations depend on one another, 2D stands alone."""
        if self.wanted is None:
            return True
        if self.fixed.configuration is not None:
            return name in self.wanted
        nnunets = [wanted for wanted in self.wanted if wanted != SLICES_CONFIGURATION]
        return any((wanted == "2d") == (name == "2d") for wanted in nnunets)

    def _needed_plan(self, name: str, spacing: Axes, shape: Axes, dataset_voxels: float) -> Plan:
        fixed = self.fixed.patch_of(name)
        if fixed is not None:
            plan = self._uncounted_plan(name, spacing, shape, dataset_voxels)
            self._set_topology(plan, fixed_topology(fixed, spacing_mm=spacing, trainer=self.trainer))
            return plan
        spacing_mm, median_shape = [float(s) for s in spacing], [float(n) for n in shape]
        if len(spacing) == 3 and self.depth != "stock":
            plan = self._uncounted_plan(name, spacing, shape, dataset_voxels)
            topology = self._full_depth(name, plan, shape=median_shape, spacing_mm=spacing_mm)
            if topology is not None:
                self.depth_chosen[name] = "full"
                self._set_topology(plan, topology)
                return plan
        if len(spacing) == 3:
            self.depth_chosen[name] = "stock"
        self._counting = True
        return self._stock_plan(name, spacing, shape, dataset_voxels)

    def _uncounted_plan(self, name: str, spacing: Axes, shape: Axes, dataset_voxels: float) -> Plan:
        """Return nnU-Net's plan for a GPU without limits: all but patch and batch is as it should be."""
        self._counting = False
        return self._stock_plan(name, spacing, shape, dataset_voxels)

    def _stock_plan(self, name: str, spacing: Axes, shape: Axes, dataset_voxels: float) -> Plan:
        # nnU-Net's cache does not tell networks with different kernels apart; ours does.
        plan: Plan = super().get_plans_for_configuration(spacing, shape, name, dataset_voxels, _cache={})
        self._with_options(plan["architecture"])
        return plan

    def static_estimate_VRAM_usage(
        self,
        patch_size: Sequence[int],
        input_channels: int,  # noqa: ARG002  (the counter knows channels and outputs from dataset.json)
        output_channels: int,  # noqa: ARG002
        arch_class_name: str,
        arch_kwargs: Mapping[str, Any],
        arch_kwargs_req_import: Sequence[str],
    ) -> int:
        """Return the counted bytes of a step with the smallest batch; nnU-Net's loop calls this for each patch."""
        if not self._counting:
            return 1
        if min(patch_size) < 1 or len(arch_kwargs["strides"]) < MIN_STAGES:
            raise PlanError(self._nothing_fits())
        architecture = self._with_options(
            {
                "network_class_name": arch_class_name,
                "arch_kwargs": dict(arch_kwargs),
                "_kw_requires_import": list(arch_kwargs_req_import),
            }
        )
        return self._smallest_step({"architecture": architecture, "patch_size": [int(n) for n in patch_size]})

    def _smallest_step(self, configuration: Mapping[str, Any]) -> int:
        patch = accepted_patch(self.trainer, configuration)
        memory = self.counter.count({**configuration, "patch_size": patch}, batch_size=self.UNet_min_batch_size)
        self._last_tried = memory
        return memory.total

    def _nothing_fits(self) -> str:
        if not hasattr(self, "_last_tried"):
            return (
                f"{self.dataset_name}: the images are too small for a network with {MIN_STAGES} resolutions "
                "(an axis must have 16 voxels or more). Use a dataset with larger images."
            )
        size = "×".join(map(str, self._last_tried.patch_size))
        return (
            f"{self.trainer.__name__} does not fit {self.UNet_vram_target_GB:g} GB: its smallest patch {size} with "
            f"batch size {self.UNet_min_batch_size} still needs {self._last_tried.total_gb:.2f} GB, of which "
            f"{self._last_tried.overhead / GB:.1f} GB are assumed for CUDA itself. Raise -gpu_memory_target, or take a "
            "trainer with a smaller network (nnunet_spine networks)."
        )

    def _with_options(self, architecture: Plan) -> Plan:
        options = network_options_of(self.trainer)
        if options:
            architecture["arch_kwargs"]["options"] = options
        return architecture

    def _full_depth(self, name: str, plan: Plan, *, shape: Axes, spacing_mm: Axes) -> Topology | None:
        """Return the largest patch of full depth, or `None` where depth shall be as nnU-Net plans it; say why."""
        axis = through_plane_axis(spacing_mm)
        if axis is None:
            self._reasons[name] = "the slices are not thick, so depth is planned as nnU-Net plans it"
            return None
        candidates = full_depth_topologies(shape=shape, spacing_mm=spacing_mm, axis=axis)
        candidates = [c for c in candidates if len(c.strides) >= MIN_STAGES]
        found = largest_that_fits(candidates, lambda candidate: self._fits(plan, candidate))
        if found is None:
            if self.depth == "full":
                raise PlanError(self._nothing_fits() + " Or allow less than the full depth: -depth auto.")
            self._reasons[name] = "depth as nnU-Net plans it: no patch of full depth fits"
            return None
        self._check_takes(plan, found)
        size = "×".join(map(str, found.patch_size))
        shortage = in_plane_shortage(found, shape=shape, spacing_mm=spacing_mm, axis=axis)
        if self.depth == "auto" and shortage is not None:
            self._reasons[name] = f"depth as nnU-Net plans it: {shortage} (patch {size}); -depth full takes it anyway"
            return None
        self._reasons[name] = f"full depth, all {shape[axis]:g} slices of the median image"
        return found

    def _slices_plan(self, flat: Plan) -> Plan:
        """Return the configuration of patches with several slices, on the data of the 2D configuration `flat`."""
        check_takes_slices(self.trainer)
        fixed = self.fixed.patch_of(SLICES_CONFIGURATION)
        slices = self._slices_of_a_patch() if fixed is None else fixed[0]
        self.UNet_min_batch_size = self._smallest_batch(SLICES_CONFIGURATION)
        plan = deepcopy(flat)
        self._set_topology(plan, self._plane(flat, slices=slices, fixed=fixed), slices=slices)
        if fixed is None:
            plan["patch_size"] = accepted_patch(self.trainer, plan)
        self._dataset_voxels[SLICES_CONFIGURATION] = self._dataset_voxels["2d"]
        self._reasons[SLICES_CONFIGURATION] = f"{slices} slices of the data of 2d in each patch"
        return {
            "inherits_from": "2d",
            "patch_size": plan["patch_size"],
            "batch_size": self._batch_size(SLICES_CONFIGURATION, plan),
            "architecture": plan["architecture"],  # its own, as 2d may be planned again with another patch
        }

    def _slices_of_a_patch(self) -> int:
        across = self.determine_transpose()[0][0]
        return slices_of_a_patch(self.dataset_fingerprint["shapes_after_crop"], axis=across)

    def _plane(self, flat: Plan, *, slices: int, fixed: Sequence[int] | None) -> Topology:
        """Return the largest plane of the patch whose smallest batch fits, or the fixed one."""
        spacing_mm, shape = list(flat["spacing"]), list(flat["median_image_size_in_voxels"])
        if fixed is not None:
            return fixed_topology(fixed[1:], spacing_mm=spacing_mm, trainer=self.trainer)
        candidates = shrinking_topologies(shape=shape, spacing_mm=spacing_mm)
        candidates = [c for c in candidates if len(c.strides) >= MIN_STAGES]
        found = largest_that_fits(candidates, lambda candidate: self._fits(flat, candidate, slices=slices))
        if found is None:
            raise PlanError(self._nothing_fits())
        self._check_takes(flat, found, slices=slices)
        return found

    def _fits(self, plan: Plan, topology: Topology, *, slices: int | None = None) -> bool:
        """Return whether the smallest batch fits; of a patch that the network finds too small: yes, it would."""
        try:
            return self._smallest_step(self._with_topology(plan, topology, slices=slices)) <= self.target_bytes
        except UnsuitableError:
            return True

    def _check_takes(self, plan: Plan, topology: Topology, *, slices: int | None = None) -> None:
        """Raise the `UnsuitableError` that `_fits` passes over."""
        self._smallest_step(self._with_topology(plan, topology, slices=slices))

    def _with_topology(self, plan: Plan, topology: Topology, *, slices: int | None = None) -> Plan:
        trial = deepcopy(plan)
        self._set_topology(trial, topology, slices=slices)
        return trial

    def _set_topology(self, plan: Plan, topology: Topology, *, slices: int | None = None) -> None:
        """Give `plan` another patch, with the stages, features and blocks that nnU-Net gives to such a patch."""
        stages = len(topology.strides)
        widest = self.UNet_max_features_2d if len(topology.patch_size) == 2 else self.UNet_max_features_3d
        plan["patch_size"] = topology.patch_size if slices is None else (slices, *topology.patch_size)
        plan["architecture"]["arch_kwargs"].update(
            n_stages=stages,
            features_per_stage=tuple(min(widest, self.UNet_base_num_features * 2**i) for i in range(stages)),
            kernel_sizes=topology.kernel_sizes,
            strides=topology.strides,
            n_conv_per_stage=self.UNet_blocks_per_stage_encoder[:stages],
            n_conv_per_stage_decoder=self.UNet_blocks_per_stage_decoder[: stages - 1],
        )

    def _smallest_batch(self, name: str) -> int:
        return self.fixed.smallest_batch(name, otherwise=self._nnunets_smallest_batch)

    def _batch_size(self, name: str, configuration: Plan) -> int:
        """Return the largest batch that fits and that nnU-Net allows (a twentieth of the dataset), or the fixed one."""
        smallest, fixed = self._smallest_batch(name), self.fixed.batch_of(name)
        if name in self._uncounted:
            return smallest
        if fixed is None:
            return largest_batch(
                lambda batch: self.counter.count(configuration, batch_size=batch).total,
                target_bytes=self.target_bytes,
                smallest=smallest,
                largest=max(self._twentieth_of_dataset(name, configuration), smallest),
            )
        memory = self.counter.count(configuration, batch_size=fixed)
        if memory.total > self.target_bytes:
            self._reasons[name] = (
                f"WARNING: the recipe fixes patch and batch, which need {memory.total_gb:.1f} GB, "
                f"more than the {self.UNet_vram_target_GB:g} GB asked for"
            )
        return fixed

    def _twentieth_of_dataset(self, name: str, configuration: Plan) -> int:
        voxels = float(_product(configuration["patch_size"]))
        return round(self._dataset_voxels[name] * float(self.max_dataset_covered) / voxels)


def _with_parents(configurations: Sequence[str] | None) -> tuple[tuple[str, ...] | None, set[str]]:
    """Return the wanted configurations with those that they inherit from, and which of them nobody asked for."""
    if configurations is None:
        return None, set()
    implied = {"2d"} - set(configurations) if SLICES_CONFIGURATION in configurations else set()
    return (*sorted(implied), *configurations), implied


def _product(numbers: Sequence[float]) -> float:
    product = 1.0
    for number in numbers:
        product *= number
    return product
