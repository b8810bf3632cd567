"""What all conversions share: a dataset's facts, a release found in a folder, and the way from there to nnU-Net raw."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import nnunet_spine_ext
from nnunet_spine_ext.data.audit import summary
from nnunet_spine_ext.data.cases import CaseRules, Reading, SourceCase, Step
from nnunet_spine_ext.data.files import free_bytes, in_words
from nnunet_spine_ext.data.labels import LabelScheme
from nnunet_spine_ext.data.parallel import default_processes
from nnunet_spine_ext.data.raw import RawDataset, expected_bytes, folds_of, read_cases, write_raw
from nnunet_spine_ext.data.staging import check_target
from nnunet_spine_ext.errors import DataError, Finding, SpineExtError
from nnunet_spine_ext.paths import nnunet_folder


@dataclass(frozen=True, kw_only=True)
class Release:
    """One published form of a dataset, as it was found in a folder."""

    name: str
    folder_name: str
    """`MRSpineSeg` in `Dataset501_MRSpineSeg`."""
    description: str
    schemes: tuple[LabelScheme, ...]
    """What can be made of its labels; the first is the default."""
    legal_ids: frozenset[int]
    """Every id its labels may hold, background included."""
    cases: tuple[SourceCase, ...]
    findings: tuple[Finding, ...] = ()
    """What is wrong with folders and names; reported together with what is wrong inside the files."""
    synthetic: bool = False
    """A phantom in the published layout, no patients."""


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """The facts of a published dataset."""

    name: str
    title: str
    size: str
    """How many cases, for people."""
    licence: str
    citation: str
    where: str
    """Where to ask for it."""
    channels: tuple[str, ...]
    """nnU-Net chooses the normalisation by these names."""
    scheme_names: tuple[str, ...]
    layouts: tuple[str, ...]
    """The folders and files by which `find` recognises it, for people."""
    cranio_caudal_axis_zyx: int
    """Array axis that runs along the body, as nnU-Net orders axes."""
    find: Callable[[Path], Release]
    """Recognise the release in a folder; raises DataError if there is none."""
    notes: tuple[str, ...] = ()
    """What is odd about all cases and how it was treated; goes into the log."""
    can_crop: bool = False
    image_steps: tuple[Step, ...] = ()
    label_steps: tuple[Step, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the user chose; see `convert`."""

    dataset_id: int
    labels: str | None = None
    crop: bool = False
    hold_out: tuple[str, ...] = ()
    target_root: Path | None = None
    processes: int | None = None
    dry_run: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.dataset_id <= 999:
            raise SpineExtError(f"A dataset's number is 1..999, got {self.dataset_id}.")
        if self.processes is not None and self.processes < 1:
            raise SpineExtError(f"At least 1 process is needed, got {self.processes}.")


def convert_dataset(dataset: Dataset, source: Path, options: Options) -> Path:
    """Convert the release found in `source`; see `convert`."""
    if options.crop and not dataset.can_crop:
        raise SpineExtError(
            f"--crop is not offered for {dataset.name}: its images have no empty background to cut off."
        )
    _require_folder(source)
    release = dataset.find(source)
    scheme = _scheme(dataset, release, source, options.labels)
    root = options.target_root or nnunet_folder("nnUNet_raw")
    target = root / f"Dataset{options.dataset_id:03d}_{release.folder_name}"
    check_target(target)
    rules = CaseRules(
        source=source,
        legal_ids=release.legal_ids,
        scheme=scheme,
        cranio_caudal_axis_zyx=dataset.cranio_caudal_axis_zyx,
        crop=options.crop,
        image_steps=dataset.image_steps,
        label_steps=dataset.label_steps,
    )
    processes = options.processes or default_processes()
    cases, findings = _held_out(release, source, options.hold_out)
    readings = read_cases(cases, rules, processes=processes, findings=[*release.findings, *findings])
    if options.dry_run:
        print(_plan(dataset, release, scheme, target, readings))
        return target
    raw = RawDataset(
        folder=target,
        rules=rules,
        description=_description(dataset, release, scheme),
        provenance=_provenance(dataset, release, options),
    )
    return write_raw(raw, readings, processes=processes)


def _require_folder(source: Path) -> None:
    if source.is_file():
        raise DataError.of(source, "is a file, not a folder", "Unpack the archive and name the folder.")
    if not source.is_dir():
        raise DataError.of(source, "no such folder", "Name the folder of the unpacked dataset.")


def _scheme(dataset: Dataset, release: Release, source: Path, name: str | None) -> LabelScheme:
    """Return the scheme of that name, or the release's default.

    Raises:
        SpineExtError: no such scheme in this dataset.
        DataError: this release's labels do not allow it.
    """
    if name is None:
        return release.schemes[0]
    if name not in dataset.scheme_names:
        raise SpineExtError(
            f"No label scheme {name!r} for {dataset.name}. There are: {', '.join(dataset.scheme_names)}."
        )
    for scheme in release.schemes:
        if scheme.name == name:
            return scheme
    possible = ", ".join(scheme.name for scheme in release.schemes)
    finding = f"is the release {release.name}, whose labels do not allow the scheme {name!r}"
    raise DataError.of(source, finding, f"Possible here: --labels {possible}.")


def _held_out(release: Release, source: Path, numbers: Sequence[str]) -> tuple[tuple[SourceCase, ...], list[Finding]]:
    """Return the cases with those of `numbers` moved to the test set, and what is wrong with `numbers`."""
    findings = []
    chosen: set[str] = set()
    for number in numbers:
        matches = [case for case in release.cases if _is_number(case, number)]
        chosen |= {case.case for case in matches}
        if not any(case.training for case in matches):
            found = "is in the test set already" if matches else "does not exist"
            remedy = f"Training cases: {', '.join(case.number for case in sorted(release.cases) if case.training)}."
            findings.append(Finding(file=source, finding=f"the case {number} to hold out {found}", remedy=remedy))
    cases = tuple(
        replace(case, training=False, subset="hold-out") if case.training and case.case in chosen else case
        for case in release.cases
    )
    return cases, [*findings, *_split_patients(cases), *_nothing_left(cases, source)]


def _is_number(case: SourceCase, number: str) -> bool:
    same = number in (case.number, case.case)
    return same or (number.isdecimal() and case.number.isdecimal() and int(number) == int(case.number))


def _split_patients(cases: Sequence[SourceCase]) -> list[Finding]:
    """Return a finding for every held-out case whose patient is trained on as well."""
    trained = {case.patient for case in cases if case.training}
    finding = "is held out, but other images of the same patient are not"
    remedy = "Hold out all images of a patient or none."
    return [
        Finding(file=case.image, finding=finding, remedy=remedy)
        for case in cases
        if case.subset == "hold-out" and case.patient in trained
    ]


def _nothing_left(cases: Sequence[SourceCase], source: Path) -> list[Finding]:
    if any(case.training for case in cases) or not cases:
        return []
    return [Finding(file=source, finding="no case is left to train on", remedy="Hold out fewer cases.")]


def _description(dataset: Dataset, release: Release, scheme: LabelScheme) -> dict[str, object]:
    """Return dataset.json, without what depends on the cases."""
    return {
        "channel_names": {str(i): name for i, name in enumerate(dataset.channels)},
        "labels": scheme.names,
        "name": release.folder_name,
        "description": f"{dataset.title}. {release.description} {scheme.description}",
        "reference": dataset.where,
        "licence": dataset.licence,
        "citation": dataset.citation,
        "release": release.name,
        "converted_by": f"nnunet_spine_ext {nnunet_spine_ext.__version__}",
        "spine": {
            "source": dataset.name,
            "scheme": scheme.name,
            "ordered_labels": scheme.ordered,
            "cranio_caudal_axis_zyx": dataset.cranio_caudal_axis_zyx,
            # Only where it is so: a report warns that a phantom is no patient.
            **({"synthetic": True} if release.synthetic else {}),
        },
    }


def _provenance(dataset: Dataset, release: Release, options: Options) -> dict[str, object]:
    return {
        "dataset": dataset.name,
        "title": dataset.title,
        "release": release.name,
        "licence": dataset.licence,
        "citation": dataset.citation,
        "notes": list(dataset.notes),
        "held_out": sorted(options.hold_out),
    }


def _plan(dataset: Dataset, release: Release, scheme: LabelScheme, target: Path, readings: Sequence[Reading]) -> str:
    """Return what a conversion would do, for people."""
    counts = summary(readings)
    held = ", ".join(f"{name} {n}" for name, n in counts["training_cases_with"].items())
    sizes = ", ".join(str(len(fold["val"])) for fold in folds_of(readings)) or "none (one patient)"
    lines = [
        f"{dataset.title}, release {release.name}",
        f"  would be written to {target}",
        f"  {counts['training']} training and {counts['test']} test cases: {counts['subsets']}",
        f"  labels {scheme.name!r}; training cases with each structure: {held}",
        f"  validation cases per fold: {sizes}",
        f"  about {in_words(expected_bytes(readings))}; {in_words(free_bytes(target))} are free there",
    ]
    for reading in readings:
        lines += [f"  {reading.case.case}: {change.file}: {change.what}" for change in reading.changes]
        lines += [f"  {reading.case.case}: {remark}" for remark in reading.remarks]
    return "\n".join(lines)
