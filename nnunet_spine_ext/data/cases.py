"""One case of a published dataset: what a converter knows before reading, and what reading found.

Everything here is plain data that crosses process borders; the work is in `case_reading` and `case_writing`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import SimpleITK as sitk

from nnunet_spine_ext.data.cropping import Crop
from nnunet_spine_ext.data.geometry import Grid
from nnunet_spine_ext.data.headers import orientation
from nnunet_spine_ext.data.labels import LabelScheme


@dataclass(frozen=True, kw_only=True, order=True)
class SourceCase:
    """One image of the published folder, with its label if it has one."""

    case: str
    """nnU-Net's case id: `Case002`."""
    number: str
    """How the publisher numbers it (`2`), for people who name cases to hold out."""
    patient: str
    subset: str
    """Where the publisher put it: `train`, `test1` …"""
    training: bool
    """True: imagesTr and labelsTr; False: imagesTs, and labelsTs if it has a label."""
    image: Path
    label: Path | None


@dataclass(frozen=True, kw_only=True)
class Change:
    """One thing done to one file of a case."""

    file: str
    """`image`, `label`, or both."""
    what: str
    why: str


Step = Callable[[sitk.Image], tuple[sitk.Image, tuple[str, str] | None]]
"""What a dataset does to an image or a label right after reading: returns it with (what, why), or None if untouched.

A step is a function at module level, because it is sent to worker processes; it may raise DataError.
"""


@dataclass(frozen=True, kw_only=True)
class CaseRules:
    """What a conversion does to every case."""

    source: Path
    """The published folder; file names in the log are relative to it."""
    legal_ids: frozenset[int]
    """Every id that the publisher defines, background included; another id is an error."""
    scheme: LabelScheme
    cranio_caudal_axis_zyx: int
    crop: bool = False
    image_steps: tuple[Step, ...] = ()
    label_steps: tuple[Step, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return what decides the written files, for the log and for resuming."""
        return {
            "scheme": self.scheme.name,
            "structures": {name: list(ids) for name, ids in self.scheme.structures},
            "crop": self.crop,
            "image_steps": [step.__name__ for step in self.image_steps],
            "label_steps": [step.__name__ for step in self.label_steps],
        }


@dataclass(frozen=True, kw_only=True)
class ImageFacts:
    """What was read from an image."""

    file: Path
    sha256: str
    grid: Grid
    dtype: str
    minimum: float
    maximum: float


@dataclass(frozen=True, kw_only=True)
class LabelFacts:
    """What was read from a label."""

    file: Path
    sha256: str
    dtype: str
    voxels_by_id: dict[int, int]
    """Source id → voxels; background included."""
    structures: dict[str, int]
    """Structure of the scheme → voxels; absent ones left out."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """A case that was read and found good."""

    case: SourceCase
    image: ImageFacts
    label: LabelFacts | None
    crop: Crop | None
    image_kept: bool
    """The image's voxels and header stay as they are: its bytes are copied (or only compressed)."""
    changes: tuple[Change, ...]
    remarks: tuple[str, ...]
    """What is odd but was left as it is."""
    expected_bytes: int
    """About how much its files will take on the disk."""

    @property
    def written_grid(self) -> Grid:
        """The grid of the files that are written."""
        return self.crop.grid if self.crop else self.image.grid

    def to_json(self) -> dict[str, Any]:
        """Return this case's entry of the log, without what is known only after writing."""
        grid = self.image.grid
        return {
            "source": {"number": self.case.number, "patient": self.case.patient, "subset": self.case.subset},
            "image": {
                "file": self.image.file.as_posix(),
                "sha256": self.image.sha256,
                "size_xyz": list(grid.size_xyz),
                "spacing_xyz_mm": list(grid.spacing_xyz_mm),
                "origin_xyz_mm": list(grid.origin_xyz_mm),
                "direction": list(grid.direction),
                "orientation": orientation(grid),
                "dtype": self.image.dtype,
                "minimum": self.image.minimum,
                "maximum": self.image.maximum,
            },
            "label": None
            if self.label is None
            else {
                "file": self.label.file.as_posix(),
                "sha256": self.label.sha256,
                "dtype": self.label.dtype,
                "voxels_by_source_id": {str(i): n for i, n in self.label.voxels_by_id.items()},
                "voxels_by_structure": self.label.structures,
            },
            "crop": None
            if self.crop is None
            else {"start_xyz": list(self.crop.start_xyz), "size_xyz": list(self.crop.size_xyz)},
            "changes": [asdict(change) for change in self.changes],
            "remarks": list(self.remarks),
        }
