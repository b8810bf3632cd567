"""What all conversions share: a dataset's facts, a release found in a folder, and the way from there to nnU-Net raw."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import nnunet_spine_ext
from nnunet_spine_ext.data.audit import summary
from nnunet_spine_ext.data.cases import CaseRules, Reading, SourceCase, Step
from nnunet_spine_ext.data.files import existing_ancestor, free_bytes, in_words
from nnunet_spine_ext.data.labels import LabelScheme
from nnunet_spine_ext.data.n4_options import N4Options
from nnunet_spine_ext.data.parallel import default_processes
from nnunet_spine_ext.data.raw import RawDataset, expected_bytes, folds_of, read_cases, write_raw
from nnunet_spine_ext.data.repairs import STANDARD
from nnunet_spine_ext.data.staging import check_target
from nnunet_spine_ext.errors import DataError, Finding, SpineExtError
from nnunet_spine_ext.paths import nnunet_folder

from .hold_out import held_out


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
    roots: tuple[tuple[str, Path], ...] = ()
    """Name → folder, where files do not lie below the source; for the log."""
    derive: Mapping[str, Step] = field(default_factory=dict)
    """Scheme → step that makes its source ids of the published ones, for schemes that need more than a table."""


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
    cranio_caudal_axis_zyx: int | None
    """Array axis that runs along the body, as nnU-Net orders axes; None if it is not the same in all images."""
    find: Callable[[Path], Release]
    """Recognise the release in a folder; raises DataError if there is none."""
    notes: tuple[str, ...] = ()
    """What is odd about all cases and how it was treated; goes into the log."""
    can_crop: bool = False
    can_pixel_mm: bool = False
    """Its images are pictures, which do not say how large a pixel is."""
    repairs: tuple[str, ...] = STANDARD
    """Names in the table of repairs (`nnunet_spine_ext.data.repairs`)."""
    image_steps: tuple[Step, ...] = ()
    label_steps: tuple[Step, ...] = ()
    header_step: Step | None = None
    """Puts right what is wrong with all headers, image's and label's alike; done only if the user asks for it."""
    hold_outs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Name → published numbers of a test set that may be held out by that name."""

    @property
    def can_n4(self) -> bool:
        """A bias field is a matter of MR coils; CT has none."""
        return all(channel.casefold() != "ct" for channel in self.channels)


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
    n4: bool = False
    link: bool = False
    keep_empty: bool = False
    pixel_mm: float | None = None
    correct_headers: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.dataset_id <= 999:
            raise SpineExtError(f"A dataset's number is 1..999, got {self.dataset_id}.")
        if self.processes is not None and self.processes < 1:
            raise SpineExtError(f"At least 1 process is needed, got {self.processes}.")
        if self.pixel_mm is not None and not 0 < self.pixel_mm < 100:
            raise SpineExtError(f"The edge of a pixel is some mm, got {self.pixel_mm}.")


def convert_dataset(dataset: Dataset, source: Path, options: Options) -> Path:
    """Convert the release found in `source`; see `convert`."""
    _require_possible(dataset, options)
    options = replace(options, hold_out=_numbers(dataset, options.hold_out))
    _require_folder(source)
    release = dataset.find(source)
    scheme = _scheme(dataset, release, source, options.labels)
    root = options.target_root or nnunet_folder("nnUNet_raw")
    target = root / f"Dataset{options.dataset_id:03d}_{release.folder_name}"
    check_target(target)
    rules = _rules(dataset, release, scheme, source, options)
    processes = options.processes or default_processes()
    cases, findings = held_out(release.cases, source, options.hold_out)
    findings += _not_linkable(cases, target) if options.link else []
    readings = read_cases(cases, rules, processes=processes, findings=[*release.findings, *findings])
    if options.dry_run:
        print(_plan(dataset, release, rules, target, readings))
        return target
    raw = RawDataset(
        folder=target,
        rules=rules,
        description=_description(dataset, release, rules),
        provenance=_provenance(dataset, release, options),
    )
    return write_raw(raw, readings, processes=processes)


def _require_possible(dataset: Dataset, options: Options) -> None:
    if options.crop and not dataset.can_crop:
        raise SpineExtError(
            f"--crop is not offered for {dataset.name}: its images have no empty background to cut off."
        )
    if options.n4 and not dataset.can_n4:
        raise SpineExtError(f"--n4 is not offered for {dataset.name}: CT has no bias field.")
    if options.correct_headers and dataset.header_step is None:
        raise SpineExtError(f"--correct-headers is not offered for {dataset.name}: its headers are not known as wrong.")


def _numbers(dataset: Dataset, chosen: Sequence[str]) -> tuple[str, ...]:
    """Return the numbers of cases to hold out, with those of a named test set in place of its name."""
    return tuple(number for name in chosen for number in dataset.hold_outs.get(name, (name,)))


def _rules(dataset: Dataset, release: Release, scheme: LabelScheme, source: Path, options: Options) -> CaseRules:
    header = (dataset.header_step,) if options.correct_headers and dataset.header_step else ()
    return CaseRules(
        source=source,
        roots=release.roots,
        legal_ids=release.legal_ids,
        scheme=scheme,
        cranio_caudal_axis_zyx=dataset.cranio_caudal_axis_zyx,
        repairs=dataset.repairs,
        crop=options.crop,
        n4=N4Options() if options.n4 else None,
        pixel_mm=options.pixel_mm,
        keep_empty=options.keep_empty,
        link=options.link,
        image_steps=(*header, *dataset.image_steps),
        label_steps=(*header, *dataset.label_steps),
        derive=release.derive.get(scheme.name),
    )


def _not_linkable(cases: Sequence[SourceCase], target: Path) -> list[Finding]:
    """Return a finding if the published files lie on another disk than the target, where no link can lead to."""
    device = existing_ancestor(target).stat().st_dev
    if all(case.image.stat().st_dev == device for case in cases):
        return []
    finding = "lies on another disk than the published files: --link cannot link them"
    return [Finding(file=target, finding=finding, remedy="Convert without --link, or choose another folder with -o.")]


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


def _description(dataset: Dataset, release: Release, rules: CaseRules) -> dict[str, object]:
    """Return dataset.json, without what depends on the cases."""
    scheme, axis = rules.scheme, dataset.cranio_caudal_axis_zyx
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
            **({} if axis is None else {"cranio_caudal_axis_zyx": axis}),
            # For `nnunet_spine prepare`. Not the header step: headers of other images are not known as wrong.
            **({"image_steps": [step.__name__ for step in dataset.image_steps]} if dataset.image_steps else {}),
            **({"n4": rules.n4.to_json()} if rules.n4 else {}),
            **({"headers": _headers(dataset, rules)} if dataset.header_step else {}),
            # Only where it is so: a report warns that a phantom is no patient.
            **({"synthetic": True} if release.synthetic else {}),
        },
    }


def _headers(dataset: Dataset, rules: CaseRules) -> str:
    return "corrected" if dataset.header_step in rules.image_steps else "as published, known to be wrong"


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


def _plan(dataset: Dataset, release: Release, rules: CaseRules, target: Path, readings: Sequence[Reading]) -> str:
    """Return what a conversion would do, for people."""
    counts, kept = summary(readings), sum(reading.image_kept for reading in readings)
    held = ", ".join(f"{name} {n}" for name, n in counts["training_cases_with"].items())
    sizes = ", ".join(str(len(fold["val"])) for fold in folds_of(readings)) or "none (one patient)"
    lines = [
        f"{dataset.title}, release {release.name}",
        f"  would be written to {target}",
        f"  {counts['training']} training and {counts['test']} test cases: {counts['subsets']}",
        f"  labels {rules.scheme.name!r}; training cases with each structure: {held}",
        f"  validation cases per fold: {sizes}",
        f"  {kept} images keep their bytes ({'linked' if rules.link else 'copied'}), {len(readings) - kept} do not",
        f"  about {in_words(expected_bytes(readings))}; {in_words(free_bytes(target))} are free there",
    ]
    for reading in readings:
        changes = (*reading.case.changes, *reading.changes)
        lines += [f"  {reading.case.case}: {change.file}: {change.what}" for change in changes]
        lines += [f"  {reading.case.case}: {remark}" for remark in reading.remarks]
    return "\n".join(lines)
