"""VerSe's `…_seg-subreg_ctd.json`: the centroid of every labelled vertebra. Here only its ids are of interest."""

from __future__ import annotations

import json
from pathlib import Path

from nnunet_spine_ext.data.cases import SourceCase
from nnunet_spine_ext.errors import DataError

_MASK, _CENTROIDS = "_seg-vert_msk", "_seg-subreg_ctd.json"


def ids_of_centroids(case: SourceCase) -> tuple[int, ...] | None:
    """Return the ids that the file of centroids beside a mask names; None if there is no such file.

    Raises:
        DataError: the file is no list of centroids.
    """
    path = _beside(case.label)
    if path is None:
        return None
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        return tuple(sorted({int(entry["label"]) for entry in entries if "label" in entry}))
    except (OSError, ValueError, TypeError, KeyError) as error:
        remedy = "Get it again, or move it away: then the mask is not checked against it."
        raise DataError.of(path, f"is no list of centroids ({error})", remedy) from error


def _beside(label: Path | None) -> Path | None:
    if label is None:
        return None
    stem = label.name[: label.name.lower().rindex(_MASK)]
    path = label.with_name(stem + _CENTROIDS)
    return path if path.is_file() else None
