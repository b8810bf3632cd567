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
from nnunet_spine_ext.data.n4_options import N4Options
from nnunet_spine_ext.errors import DataError


@dataclass(frozen=True, kw_only=True, order=True)
class Change:
    """One thing done to one file of a case."""

    file: str
    """`image`, `label`, or both."""
    repair: str
    """Name in the table of repairs, or of another step."""
    what: str
    why: str


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
    """A file, or the folder of a DICOM series."""
    label: Path | None
    changes: tuple[Change, ...] = ()
    """What was repaired in finding it: names. The files' content is another matter."""
    fold: int | None = None
    """In which fold its patient is validated, where another dataset holds the same patient; None: dealt out."""
    told_ids: tuple[int, ...] | None = None
    """Ids that another published file says its label holds; what differs becomes a remark. None: there is no such."""


class UnrepairableError(ValueError):
    """What a step raises: the voxels cannot be used, and it does not know the file."""

    def __init__(self, finding: str, remedy: str) -> None:
        super().__init__(finding, remedy)
        self.finding, self.remedy = finding, remedy

    def about(self, path: Path) -> DataError:
        """Return the same finding with its file."""
        return DataError.of(path, self.finding, self.remedy)


Step = Callable[[sitk.Image], tuple[sitk.Image, tuple[str, str] | None]]
"""What a dataset does to an image or a label right after reading: returns it with (what, why), or None if untouched.

A step is a function at module level, because it is sent to worker processes; it may raise UnrepairableError.
"""


@dataclass(frozen=True, kw_only=True)
class CaseRules:
    """What a conversion does to every case."""

    source: Path
    """The published folder; file names in the log are relative to it."""
    legal_ids: frozenset[int]
    """Every id that the publisher defines, background included; another id is an error."""
    scheme: LabelScheme
    cranio_caudal_axis_zyx: int | None
    """Array axis along the body; None if that may differ or is not known."""
    roots: tuple[tuple[str, Path], ...] = ()
    """Name → folder, where files do not lie below `source`."""
    repairs: tuple[str, ...] = ()
    """Names in the table of repairs (`repairs.REPAIRS`)."""
    crop: bool = False
    n4: N4Options | None = None
    pixel_mm: float | None = None
    """Edge of a pixel of pictures, which do not say it."""
    keep_empty: bool = False
    """Cases whose label holds no structure are kept, with a remark."""
    link: bool = False
    """Images that need no change are hard links to the published files. What is written is the same."""
    image_steps: tuple[Step, ...] = ()
    label_steps: tuple[Step, ...] = ()
    derive: Step | None = None
    """Makes the scheme's source ids of the published ones, after these were found legal."""

    def name_of(self, path: Path) -> Path:
        """Return the name of a published file for the log: no machine, no absolute path."""
        for name, root in self.roots:
            if path.is_relative_to(root):
                return Path(name) / path.relative_to(root)
        return path.relative_to(self.source)

    def to_json(self) -> dict[str, Any]:
        """Return what decides the written files, for the log and for resuming."""
        return {
            "scheme": self.scheme.name,
            "structures": {name: list(ids) for name, ids in self.scheme.structures},
            "crop": self.crop,
            "image_steps": [step.__name__ for step in self.image_steps],
            "label_steps": [step.__name__ for step in self.label_steps],
            "repairs": list(self.repairs),
            **({"derive": self.derive.__name__} if self.derive else {}),
            **({"n4": self.n4.to_json()} if self.n4 else {}),
            **({"pixel_mm": self.pixel_mm} if self.pixel_mm else {}),
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
    flat: bool
    """A 2D image; `grid` is that of a single slice."""


@dataclass(frozen=True, kw_only=True)
class LabelFacts:
    """What was read from a label."""

    file: Path
    sha256: str
    grid: Grid
    """By its own header."""
    placed: bool
    """Its format has such a header."""
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
        return {
            "source": {"number": self.case.number, "patient": self.case.patient, "subset": self.case.subset},
            "image": self._image_json(),
            "label": None if self.label is None else self._label_json(self.label),
            "crop": None
            if self.crop is None
            else {"start_xyz": list(self.crop.start_xyz), "size_xyz": list(self.crop.size_xyz)},
            "changes": [asdict(change) for change in (*self.case.changes, *self.changes)],
            "remarks": list(self.remarks),
        }

    def _image_json(self) -> dict[str, Any]:
        return {
            "file": self.image.file.as_posix(),
            "sha256": self.image.sha256,
            **_grid_json(self.image.grid, flat=self.image.flat),
            "dtype": self.image.dtype,
            "minimum": self.image.minimum,
            "maximum": self.image.maximum,
        }

    def _label_json(self, label: LabelFacts) -> dict[str, Any]:
        return {
            "file": label.file.as_posix(),
            "sha256": label.sha256,
            **(_grid_json(label.grid, flat=self.image.flat) if label.placed else {}),
            "dtype": label.dtype,
            "voxels_by_source_id": {str(i): n for i, n in label.voxels_by_id.items()},
            "voxels_by_structure": label.structures,
        }


def _grid_json(grid: Grid, *, flat: bool) -> dict[str, Any]:
    axes = 2 if flat else 3
    return {
        "size_xyz": list(grid.size_xyz[:axes]),
        "spacing_xyz_mm": list(grid.spacing_xyz_mm[:axes]),
        "origin_xyz_mm": list(grid.origin_xyz_mm[:axes]),
        "direction": list(grid.direction) if not flat else [grid.direction[i] for i in (0, 1, 3, 4)],
        "orientation": None if flat else orientation(grid),
    }
