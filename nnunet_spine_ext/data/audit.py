"""`conversion_log.json`, beside dataset.json: what was read, what was changed and why, with checksums in and out.

It holds no time, no machine and no absolute path, so that the same sources always give the same log. The one exception
is N4, where it was asked for: the seconds that it took. `conversion_log.html` shows the log to people (`audit_page`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import nnunet_spine_ext
from nnunet_spine_ext.data.cases import CaseRules, Reading
from nnunet_spine_ext.data.repairs import REPAIRS, Repair
from nnunet_spine_ext.data.splits import SplitCase, fold_table

LOG_FILE = "conversion_log.json"
PAGE_FILE = "conversion_log.html"


def conversion_log(
    *,
    provenance: Mapping[str, object],
    rules: CaseRules,
    readings: Sequence[Reading],
    splits: list[dict[str, list[str]]],
    written: Mapping[str, Mapping[str, object]],
) -> dict[str, Any]:
    """Return the log of a conversion.

    Args:
        provenance: what the converter says of the source: name, release, licence, notes, options.
        rules: what was done to every case.
        readings: all cases, in the order of the log.
        splits: the folds that were written.
        written: case → `image` and `label` → file, checksum, bytes.
    """
    return {
        "converted_by": f"nnunet_spine_ext {nnunet_spine_ext.__version__}",
        **provenance,
        "rules": rules.to_json(),
        "every_file": [
            "image: copied byte by byte, or only compressed to .nii.gz, unless the case lists a change or its format "
            "is another",
            "label: ids mapped by the scheme, stored as uint8 .nii.gz with its image's header",
        ],
        "repairs_switched_on": {name: _in_words(REPAIRS[name]) for name in rules.repairs},
        "summary": summary(readings),
        "folds": fold_table(_labelled(readings), splits),
        "cases": {r.case.case: {**r.to_json(), "written": dict(written[r.case.case])} for r in readings},
    }


def summary(readings: Sequence[Reading]) -> dict[str, Any]:
    """Return how many cases went where, and how often each kind of repair and remark occurred."""
    return {
        "training": sum(r.case.training for r in readings),
        "test": sum(not r.case.training for r in readings),
        "subsets": dict(sorted(Counter(r.case.subset for r in readings).items())),
        "cases_with_changes": sum(bool(_repairs_of(r)) for r in readings),
        "cases_with": dict(sorted(Counter(name for r in readings for name in _repairs_of(r)).items())),
        "cases_with_remarks": sum(bool(r.remarks) for r in readings),
        "training_cases_with": dict(Counter(s for c in _labelled(readings) for s in c.structures)),
    }


def _repairs_of(reading: Reading) -> set[str]:
    """Return the names of what was done to a case."""
    return {change.repair for change in (*reading.case.changes, *reading.changes)}


def _in_words(repair: Repair) -> str:
    return f"{repair.finds}: {repair.does}"


def split_cases(readings: Sequence[Reading]) -> list[SplitCase]:
    """Return the training cases with the published ids that occur in them.

    Not with the structures of the scheme: so the folds are the same under every scheme, and models can be compared.
    """
    return [
        SplitCase(
            case=r.case.case,
            patient=r.case.patient,
            structures=tuple(str(i) for i in r.label.voxels_by_id),
            fold=r.case.fold,
        )
        for r in readings
        if r.case.training and r.label is not None
    ]


def _labelled(readings: Sequence[Reading]) -> list[SplitCase]:
    """Return the training cases with the structures of the scheme that occur in them."""
    return [
        SplitCase(case=r.case.case, patient=r.case.patient, structures=tuple(r.label.structures))
        for r in readings
        if r.case.training and r.label is not None
    ]
