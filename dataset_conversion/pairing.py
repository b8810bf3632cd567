"""Which label belongs to which image, by their names alone: the same core between prefixes and suffixes of their own.

    case_07_T2.nii.gz   mask_case_07.nii.gz   image = CASE + "_T2", label = "mask_" + CASE

The rule is found, not guessed: of all rules that some image and some label suggest, the one that pairs most files, and
among those the one with the shortest additions. Capitals do not count.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

_ANCHORS = 5
_LIKELIEST = 20
"""How many images, and for each of them how many labels most like it, suggest a rule."""


class AmbiguousNamesError(ValueError):
    """Two rules pair the same number of files, and differently."""


@dataclass(frozen=True, kw_only=True, order=True)
class Affixes:
    """What stands before and after the core of a name, in lower case."""

    prefix: str
    suffix: str

    def core(self, stem: str) -> str | None:
        """Return what is between them, in lower case; None if the name does not have them, or nothing between."""
        name = stem.lower()
        if len(name) <= len(self.prefix) + len(self.suffix):
            return None
        return self.between(name) if name.startswith(self.prefix) and name.endswith(self.suffix) else None

    def between(self, stem: str) -> str:
        """Return what is between them in a name that has them."""
        return stem[len(self.prefix) : len(stem) - len(self.suffix)]

    def around(self, core: str) -> str:
        """Return the name of that core."""
        return f"{self.prefix}{core}{self.suffix}"


@dataclass(frozen=True, kw_only=True, order=True)
class Rule:
    """How images and labels are called."""

    image: Affixes
    label: Affixes

    def __str__(self) -> str:
        return f"images are called {self.image.around('CASE')!r}, labels {self.label.around('CASE')!r}"

    @property
    def length(self) -> int:
        """Letters that it adds to the cores."""
        return sum(len(part) for a in (self.image, self.label) for part in (a.prefix, a.suffix))

    def pairs(self, images: Sequence[str], labels: Sequence[str]) -> dict[str, str]:
        """Return image → label, for the names that the rule pairs."""
        of_core = {core: stem for stem in labels if (core := self.label.core(stem)) is not None}
        return {
            stem: of_core[core] for stem in images if (core := self.image.core(stem)) is not None and core in of_core
        }


IDENTITY = Rule(image=Affixes(prefix="", suffix=""), label=Affixes(prefix="", suffix=""))


def find_rule(images: Collection[str], labels: Collection[str]) -> Rule:
    """Return the rule that pairs most of these names (stems, no two equal but for capitals).

    Raises:
        AmbiguousNamesError: two rules are equally good.
    """
    first, second = sorted(images), sorted(labels)
    candidates = {IDENTITY}
    for anchor in first[:: max(1, len(first) // _ANCHORS)][:_ANCHORS]:
        candidates |= _suggested(anchor, second)
    scored = {rule: rule.pairs(first, second) for rule in candidates}
    best = min(scored, key=lambda rule: (-len(scored[rule]), rule.length, rule))
    rivals = [
        rule
        for rule, pairs in scored.items()
        if (len(pairs), rule.length) == (len(scored[best]), best.length) and pairs != scored[best]
    ]
    if rivals and 2 * len(scored[best]) <= min(len(first), len(second)):
        return IDENTITY  # a digit or two in common by chance: no rule worth a question
    if rivals and scored[best]:
        raise AmbiguousNamesError(f"either {best}, or {min(rivals)}")
    return best


def _suggested(image: str, labels: Sequence[str]) -> set[Rule]:
    """Return the rules by which the labels most like `image` would be its own."""
    name = image.lower()
    likely = []
    for label in labels:
        other = label.lower()
        found = SequenceMatcher(None, name, other, autojunk=False).find_longest_match()
        core = name[found.a : found.a + found.size].strip("_-. ")
        if core:
            likely.append((-len(core), other, core))
    chosen = sorted(likely)[:_LIKELIEST]
    return {Rule(image=_around(core, name), label=_around(core, other)) for _, other, core in chosen}


def _around(core: str, name: str) -> Affixes:
    prefix, _, suffix = name.partition(core)
    return Affixes(prefix=prefix, suffix=suffix)
