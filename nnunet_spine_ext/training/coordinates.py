"""What coordinate channels ask of a training: no mirroring in the plane, and a patch that shows the whole slice.

A network with the row option "slices": {"coordinates": true} sees where in the patch each voxel is. The maps are made
inside the network (`networks/slices.py`), so they do not turn with an image that was mirrored: left would be called
right, in augmentation and in prediction's mirrored passes alike. Reversing the order of the slices changes no map.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from nnunet_spine_ext.networks.registry import SLICES_KEY, entry, slice_axis
from nnunet_spine_ext.networks.slices import SliceOptions
from nnunet_spine_ext.training.trainer import SpineTrainer


class CoordinateTrainer(SpineTrainer):
    """A trainer that follows its network's options for slices; without them nothing changes."""

    @classmethod
    def slice_options(cls) -> SliceOptions:
        """Return what the network sees besides a slice: the trainer's options over those of the row."""
        assert cls.network_name is not None, "a CoordinateTrainer names a network of the registry"
        merged: dict[str, Any] = {**entry(cls.network_name).options, **cls.network_options}
        return SliceOptions.of(merged.get(SLICES_KEY))

    def plane_axes(self) -> tuple[int, ...]:
        """Return the axes of the patch that lie within a slice."""
        assert self.network_name is not None
        patch = self.configuration_manager.patch_size
        across = slice_axis(entry(self.network_name), self.architecture_words(self.configuration_manager), patch)
        return tuple(axis for axis in range(len(patch)) if axis != across)

    def initialize(self) -> None:
        """Build as the base does; tell if the network sees less than its options say."""
        super().initialize()
        for line in self._slice_notes(self.slice_options()):
            self.print_to_log_file(line, add_timestamp=False)

    def configure_rotation_dummyDA_mirroring_and_inital_patch_size(self) -> tuple[Any, bool, Any, tuple[int, ...]]:
        """Return the augmentation geometry, with coordinates without mirroring in the plane; also in prediction."""
        rotation, dummy_2d, initial_patch_size, axes = (
            super().configure_rotation_dummyDA_mirroring_and_inital_patch_size()
        )
        if not self.slice_options().coordinates:
            return rotation, dummy_2d, initial_patch_size, axes
        plane = self.plane_axes()
        kept = tuple(axis for axis in axes if axis not in plane)
        self.inference_allowed_mirroring_axes = kept or None
        self.print_to_log_file(
            f"Mirroring: axes {kept}, none within a slice: the coordinates that the network sees do not turn."
        )
        return rotation, dummy_2d, initial_patch_size, kept

    def _slice_notes(self, options: SliceOptions) -> Iterator[str]:
        configuration = self.configuration_manager
        patch, image = list(configuration.patch_size), list(configuration.median_image_size_in_voxels)
        if options.neighbours and len(patch) == 2:
            yield (
                f"NOTE: the network takes {2 * options.neighbours + 1} slices, but a patch of configuration "
                f"{self.configuration_name} has one: it sees no neighbours. Configuration 25d has them "
                f"(nnunet_spine plan -d {self.dataset_id} -tr {self.full_length_name} -c 25d)."
            )
        # A 2d configuration knows the size of slices, a 3d one that of volumes; the axes are counted from the last.
        known = [axis for axis in self.plane_axes() if axis >= len(patch) - len(image)]
        exceeded = [axis for axis in known if image[axis - len(patch)] > patch[axis]]
        if options.coordinates and exceeded:
            sizes = ", ".join(f"axis {a}: {image[a - len(patch)]:g} voxels, patch {patch[a]}" for a in exceeded)
            yield (
                f"WARNING: the median image is larger than the patch ({sizes}). The coordinates that the network sees "
                "are then those within a tile, and say nothing about where in the body it lies. Plan a larger patch "
                "(nnunet_spine plan, -gpu_memory_target), or switch coordinates off in a trainer of your own: "
                f'network_options = {{"slices": {{"neighbours": {options.neighbours}, "coordinates": False}}}}.'
            )
