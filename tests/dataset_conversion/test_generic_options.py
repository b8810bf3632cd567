"""Options of `convert generic` that are missing, contradict one another, or make no sense."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.data import generic
from tests.dataset_conversion.published import generic_arguments, nnunet_spine

NEEDED = ("--images", "--labels", "--label-table", "--name")


@pytest.mark.parametrize("missing", NEEDED)
def test_what_generic_needs_is_asked_for(missing: str, tmp_path: Path) -> None:
    arguments = list(generic_arguments(tmp_path))
    at = arguments.index(missing)
    ended = nnunet_spine("convert", *arguments[:at], *arguments[at + 2 :], "-d", 1)
    assert ended.code == 2
    assert f"Invalid value for {missing}: generic needs it." in " ".join(ended.error.split())


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--ct", "--channel", "T2"), "--ct is the channel CT already"),
        (("--ct", "--n4"), "CT has no bias field"),
        (("--crop",), "not offered for generic"),
    ],
)
def test_options_that_contradict(more: tuple[str, ...], message: str, tmp_path: Path) -> None:
    ended = nnunet_spine("convert", *generic_arguments(tmp_path), "-d", 1, *more)
    assert ended.code == 2
    assert message in " ".join(ended.error.split())


def test_published_datasets_refuse_what_is_generic_s(tmp_path: Path) -> None:
    ended = nnunet_spine("convert", "chu", tmp_path, "-d", 1, "--channel", "T1")
    assert ended.code == 2
    assert "is for generic only" in " ".join(ended.error.split())


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--name", "My spines"), "made of letters, digits and _, got 'My spines'"),
        (("--spine-axis", "3"), "The spine's axis is 0, 1 or 2"),
        (("--patient", "("), "is no regular expression"),
        (("--pixel-mm", "0"), "The edge of a pixel is some mm, got 0"),
        (("--channel", " "), "The channel needs a name"),
    ],
)
def test_values_that_make_no_sense(more: tuple[str, ...], message: str, tmp_path: Path) -> None:
    generic.write(tmp_path, [5])
    ended = nnunet_spine("convert", *generic_arguments(tmp_path), "-d", 1, "-o", tmp_path / "raw", *more)
    assert ended.code == 1
    assert message in ended.error
