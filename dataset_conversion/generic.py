"""Any flat folder of images and one of labels, of no published dataset: paired by name, checked and repaired alike.

    IMAGES/   .nii .nii.gz .nrrd .mha, or .png .tif .tiff .npy with one slice each; or folders of DICOM series
    LABELS/   the same formats; ids as the label table names them
    TEST/     images without labels, likewise

Other files (.txt, .json …) are passed over. Nothing is guessed: what cannot be paired or read is refused by name.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from nnunet_spine_ext.data.cases import Change, SourceCase
from nnunet_spine_ext.data.label_files import read_label_table
from nnunet_spine_ext.data.labels import LabelScheme
from nnunet_spine_ext.data.repairs import STANDARD, require_hounsfield
from nnunet_spine_ext.data.stored import ending_of
from nnunet_spine_ext.errors import DataError, Finding, SpineExtError

from .flat_folder import examples, images_in, nothing_in, stem_of
from .frame import Dataset, Options, Release, convert_dataset
from .layout import renamed
from .pairing import AmbiguousNamesError, Rule, find_rule

NAME = "generic"
SCHEME = "table"
_NNUNET_CHANNEL = "_0000"


@dataclass(frozen=True, kw_only=True)
class Folders:
    """What the user says of his files.

    Raises:
        SpineExtError: a value makes no sense.
    """

    images: Path
    labels: Path
    label_table: Path
    """id and name of every structure: see `read_label_table`."""
    name: str
    """`Spines` in `Dataset501_Spines`."""
    test_images: Path | None = None
    channel: str = "MR"
    """What the images show; nnU-Net chooses the normalisation by it. `CT` asks for Hounsfield units."""
    spine_axis: int | None = None
    """Array axis (z y x) along which the structures follow one another, never to be mirrored; None: they do not."""
    patient: str | None = None
    """Regular expression that finds the patient in a case's name; None: every image is of another patient."""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9]\w*", self.name, re.ASCII):
            raise SpineExtError(f"A dataset's name is made of letters, digits and _, got {self.name!r}.")
        if self.spine_axis not in (None, 0, 1, 2):
            raise SpineExtError(f"The spine's axis is 0, 1 or 2 (z y x), got {self.spine_axis}.")
        if not self.channel.strip():
            raise SpineExtError("The channel needs a name: T2, say.")
        if self.patient is not None:
            _compiled(self.patient)

    @property
    def is_ct(self) -> bool:
        """The images are to hold Hounsfield units."""
        return self.channel.casefold() == "ct"


def convert_folders(folders: Folders, options: Options) -> Path:
    """Convert folders of images and labels to nnU-Net raw format; return the folder of the new dataset.

    Raises:
        SpineExtError: an argument is wrong.
        DataError: with everything that is wrong with the files or the target.
    """
    names = read_label_table(folders.label_table)
    return convert_dataset(dataset_of(folders, names), folders.images, options)


def dataset_of(folders: Folders, names: Mapping[int, str]) -> Dataset:
    """Return the facts of these folders, as if they were published."""
    repairs = [*STANDARD, "equal channels"]
    if 1 in names and 255 not in names:
        repairs.append("255 mask")
    if folders.is_ct:
        repairs.append("wrap-around")
    return Dataset(
        name=NAME,
        title=f"{folders.name}, from folders of files",
        size="as many as there are",
        licence="not stated",
        citation="not stated",
        where="not stated",
        channels=("CT" if folders.is_ct else folders.channel,),
        scheme_names=(SCHEME,),
        layouts=("images and labels of the same names, but for prefix and suffix",),
        cranio_caudal_axis_zyx=folders.spine_axis,
        find=lambda _: _find(folders, names),
        repairs=tuple(repairs),
        image_steps=(require_hounsfield,) if folders.is_ct else (),
    )


def _find(folders: Folders, names: Mapping[int, str]) -> Release:
    _require_folders(folders)
    images, findings = images_in(folders.images)
    labels, wrong = images_in(folders.labels)
    findings += wrong
    cases: list[SourceCase] = []
    description = ""
    if images and labels:
        description, cases, wrong = _paired(images, labels, folders)
        findings += wrong
    else:
        findings += [nothing_in(f) for f, there in ((folders.images, images), (folders.labels, labels)) if not there]
    tests, wrong = _test_cases(folders)
    findings += wrong
    scheme = LabelScheme(
        name=SCHEME,
        description=f"{len(names)} structures of the label table {folders.label_table.name}.",
        structures=tuple((name, (i,)) for i, name in sorted(names.items())),
        ordered=folders.spine_axis is not None,
    )
    return Release(
        name="folders",
        folder_name=folders.name,
        description=description,
        schemes=(scheme,),
        legal_ids=frozenset({0, *names}),
        cases=tuple(sorted([*cases, *tests])),
        findings=tuple(findings),
        roots=_roots(folders),
    )


def _require_folders(folders: Folders) -> None:
    named = [folders.images, folders.labels, *([folders.test_images] if folders.test_images else [])]
    remedy = "Name the folder that holds the files."
    wrong = [Finding(file=f, finding="no such folder", remedy=remedy) for f in named if not f.is_dir()]
    if not wrong:
        remedy = "Put images, labels and test images into folders of their own."
        count = Counter(folder.resolve() for folder in named)
        wrong = [
            Finding(file=folder, finding="is named for two things at once", remedy=remedy)
            for folder in dict.fromkeys(named)
            if count[folder.resolve()] > 1
        ]
    if wrong:
        raise DataError(wrong)


def _roots(folders: Folders) -> tuple[tuple[str, Path], ...]:
    named = (("labels", folders.labels), ("test_images", folders.test_images), ("images", folders.images))
    return tuple((name, folder) for name, folder in named if folder is not None)


def _paired(
    images: Mapping[str, Path], labels: Mapping[str, Path], folders: Folders
) -> tuple[str, list[SourceCase], list[Finding]]:
    """Return the rule in words, the training cases, and what is wrong: no rule, or files without partner."""
    remedy = "Name each label like its image, with the same prefix or suffix for all."
    try:
        rule = find_rule(images, labels)
    except AmbiguousNamesError as error:
        finding = f"labels can be paired with images in two ways: {error}"
        return "", [], [Finding(file=folders.labels, finding=finding, remedy=remedy)]
    pairs = rule.pairs(sorted(images), sorted(labels))
    if not pairs:
        finding = f"no label has the name of an image: {examples(images)}; but labels {examples(labels)}"
        return "", [], [Finding(file=folders.labels, finding=finding, remedy=remedy)]
    findings = [_lonely(images[s], rule, folders.labels, is_image=True) for s in sorted(images.keys() - pairs.keys())]
    lonely = sorted(labels.keys() - set(pairs.values()))
    findings += [_lonely(labels[s], rule, folders.images, is_image=False) for s in lonely]
    cases = []
    for stem, partner in pairs.items():
        case, wrong = _case(images[stem], labels[partner], folders, dropped=_dropped(images))
        cases.append(replace(case, changes=(*case.changes, *_spelling(labels[partner], images[stem], rule))))
        findings += wrong
    return f"Pairs by name: {rule}.", cases, findings


def _dropped(images: Mapping[str, Path]) -> str:
    """Return the ending that nnU-Net's own names have, if all have it."""
    return _NNUNET_CHANNEL if all(stem.endswith(_NNUNET_CHANNEL) for stem in images) else ""


def _case(image: Path, label: Path | None, folders: Folders, *, dropped: str = "") -> tuple[SourceCase, list[Finding]]:
    name = re.sub(r"[^\w.-]+", "_", stem_of(image).removesuffix(dropped))
    match = re.search(_compiled(folders.patient), name) if folders.patient else None
    patient = match[match.re.groups and 1] if match else name
    findings = []
    if folders.patient and not match:
        remedy = "Correct --patient, or rename the file."
        finding = f"its name {name} holds no patient by the expression {folders.patient!r}"
        findings.append(Finding(file=image, finding=finding, remedy=remedy))
    case = SourceCase(
        case=name,
        number=name,
        patient=patient,
        subset="train" if label else "test",
        training=label is not None,
        image=image,
        label=label,
        changes=(*_ending(image, "image"), *(_ending(label, "label") if label else ())),
    )
    return case, findings


def _ending(path: Path, file: str) -> tuple[Change, ...]:
    """Return a record if a file's ending has capitals."""
    meant = stem_of(path) + (ending_of(path) if path.is_file() else "")
    return () if path.name == meant else (renamed(path, meant, file=file),)


def _test_cases(folders: Folders) -> tuple[list[SourceCase], list[Finding]]:
    if folders.test_images is None:
        return [], []
    images, findings = images_in(folders.test_images)
    if not images:
        findings.append(nothing_in(folders.test_images))
    cases = []
    for image in images.values():
        case, wrong = _case(image, None, folders, dropped=_dropped(images))
        cases.append(case)
        findings += wrong
    return cases, findings


def _spelling(label: Path, image: Path, rule: Rule) -> tuple[Change, ...]:
    """Return a record if a label has its image's name only without regard to capitals."""
    core, name = rule.image.between(stem_of(image)), stem_of(label)
    end = len(name) - len(rule.label.suffix)
    meant = name[: len(rule.label.prefix)] + core + label.name[end:]
    return () if label.name == meant else (renamed(label, meant, file="label"),)


def _lonely(path: Path, rule: Rule, others: Path, *, is_image: bool) -> Finding:
    mine, theirs = (rule.image, rule.label) if is_image else (rule.label, rule.image)
    what, other = ("image", "label") if is_image else ("label", "image")
    core = mine.core(stem_of(path))
    if core is None:
        finding = f"is not called like the other {what}s ({rule})"
    else:
        finding = f"has no {other}: {theirs.around(core)!r} is missing in {others.name}/ ({rule})"
    return Finding(file=path, finding=finding, remedy=f"Add its {other}, rename it, or move it out of the folder.")


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise SpineExtError(f"--patient {pattern!r} is no regular expression: {error}.") from error
