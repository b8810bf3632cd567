"""The worst cases as mid-sagittal pictures: image, reference and every model's prediction, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nnunet_spine_ext.data.geometry import Array, Grid, read_image, voxels
from nnunet_spine_ext.errors import DataError
from nnunet_spine_ext.evaluation.placing import on_grid
from nnunet_spine_ext.evaluation.sources import Sources
from nnunet_spine_ext.evaluation.structures import Structures
from nnunet_spine_ext.report.drawing import fill, grey, outline
from nnunet_spine_ext.report.palette import owners
from nnunet_spine_ext.report.sagittal import Frame, SagittalView

LONGEST_PX = 420
MARGIN_MM = 20.0
NAME_PX = 13
_LETTER_PX = 8.0
_GAP_PX = 6
_SMALLEST_NAMED = 0.0015
"""Share of the picture below which an area bears no name."""

Placed = Mapping[tuple[str, str], Sources]
"""(model, case) → where its files lie."""


@dataclass(frozen=True, kw_only=True)
class Name:
    """A structure's name in a picture, and the point left of which it is written, in pixels."""

    text: str
    x: int
    y: int


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One label map as a picture."""

    fill: str
    outline: str
    names: tuple[Name, ...]


@dataclass(frozen=True, kw_only=True)
class Overlay:
    """One case: a grey slice, its reference, and a layer per model (None: not predicted, or not readable)."""

    case: str
    width_px: int
    height_px: int
    slice_number: int
    """Counted from 1."""
    slices: int
    image: str
    reference: Layer
    predictions: tuple[tuple[str, float, Layer | None], ...]
    """Model, mean Dice of the case, layer."""


def draw_cases(
    cases: Sequence[tuple[str, tuple[float, ...]]], models: Sequence[str], placed: Placed
) -> tuple[list[Overlay], list[str]]:
    """Return the pictures of `cases` (name, mean Dice per model), and why any of them is not there."""
    overlays, missing = [], []
    for case, scores in cases:
        sources = {model: placed[model, case] for model in models if (model, case) in placed}
        if not sources:
            missing.append(f"{case}: nothing says where its images are (the .sources.json beside the table is absent).")
            continue
        try:
            overlays.append(_draw(case, dict(zip(models, scores, strict=True)), sources))
        except (DataError, ValueError) as error:
            missing.append(f"{case}: {error}")
    return overlays, missing


def _draw(case: str, scores: Mapping[str, float], sources: Mapping[str, Sources]) -> Overlay:
    first = next(iter(sources.values()))
    if first.images is None:
        raise ValueError("no folder of images is known")
    image = read_image(first.images / f"{case}_0000{first.file_ending}")
    grid = Grid.of(image)
    painter = _Painter(Structures.of(first.labels))
    reference = painter.read(first.references / f"{case}{first.file_ending}", grid)
    predictions = {
        model: painter.try_read(s.predictions / f"{case}{s.file_ending}", grid) for model, s in sources.items()
    }
    view = SagittalView.of(grid)
    index = view.middle(reference > 0)
    pictures = {model: None if p is None else view.cut(p, index) for model, p in predictions.items()}
    truth = view.cut(reference, index)
    shown = [truth > 0, *(_without_specks(picture > 0) for picture in pictures.values() if picture is not None)]
    frame = Frame.around(np.any(shown, axis=0), view, margin_mm=MARGIN_MM, longest_px=LONGEST_PX)
    return Overlay(
        case=case,
        width_px=frame.width_px,
        height_px=frame.height_px,
        slice_number=index + 1,
        slices=reference.shape[view.across],
        image=grey(view.cut(voxels(image), index), frame),
        reference=painter.layer(truth, frame),
        predictions=tuple(
            (model, score, None if (p := pictures.get(model)) is None else painter.layer(p, frame))
            for model, score in scores.items()
        ),
    )


def _without_specks(area: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the box that holds all but the outermost hundredth of an area on each side: the frame stays close."""
    box = np.zeros_like(area)
    if area.any():
        (top, left), (bottom, right) = np.percentile(np.argwhere(area), (1, 99), axis=0).astype(int)
        box[top : bottom + 1, left : right + 1] = True
    return box


def _apart(names: Sequence[Name]) -> tuple[Name, ...]:
    """Return the names from top to bottom, each far enough below the one before to be read."""
    placed: list[Name] = []
    for name in sorted(names, key=lambda name: name.y):
        lowest = placed[-1].y + NAME_PX if placed else name.y
        placed.append(Name(text=name.text, x=name.x, y=max(name.y, lowest)))
    return tuple(placed)


class _Painter:
    """Turns label maps into colour indices: 0 nothing, i + 1 the structure at i of the label table."""

    def __init__(self, structures: Structures) -> None:
        self._names = [structure.name for structure in structures.each]
        self._owners = owners(structures)

    def read(self, file: Path, target: Grid) -> NDArray[np.uint8]:
        image = read_image(file)
        labels = on_grid(voxels(image), Grid.of(image), target)
        painted = np.zeros(labels.shape, dtype=np.uint8)
        for label, index in self._owners.items():
            painted[labels == label] = index + 1
        return painted

    def try_read(self, file: Path, target: Grid) -> NDArray[np.uint8] | None:
        try:
            return self.read(file, target)
        except (DataError, ValueError):
            return None

    def layer(self, painted: Array, frame: Frame) -> Layer:
        picture = frame.nearest(painted)
        names = [name for index in np.unique(picture) if index and (name := self._name(picture == index, index))]
        return Layer(fill=fill(picture), outline=outline(picture), names=_apart(names))

    def _name(self, area: NDArray[np.bool_], index: int) -> Name | None:
        """Return the name in front of the area's main part; none if it is small, or needs no telling apart."""
        if area.mean() < _SMALLEST_NAMED or len(self._names) == 1:
            return None
        points = np.argwhere(area)
        y, x = points[np.abs(points - np.median(points, axis=0)).sum(axis=1).argmin()]  # the main part holds the median
        outside = np.flatnonzero(~area[y, :x])
        text, border = self._names[index - 1], int(outside[-1]) + 1 if outside.size else 0
        return Name(text=text, x=max(border, round(len(text) * _LETTER_PX) + _GAP_PX), y=int(y))
