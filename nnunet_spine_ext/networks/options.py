"""The options of a network: one frozen dataclass each, checked when made, which a plans file can hold as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, TypeVar, get_args, get_type_hints

from nnunet_spine_ext.networks.plan_shape import NetworkPlanError

Options = TypeVar("Options", bound="NetworkOptions")


@dataclass(frozen=True, kw_only=True)
class NetworkOptions:
    """Base of all options: a subclass adds fields with defaults, and what it knows of wrong values.

    Raises:
        NetworkPlanError: values that are not allowed; all of them are named.
    """

    def __post_init__(self) -> None:
        found = [*self._wrong_words(), *self.wrong_values()]
        if found:
            raise NetworkPlanError(f"{type(self).__name__}: " + "; ".join(found) + ".")

    def wrong_values(self) -> list[str]:
        """Return a message for each value that is not allowed (words are checked already). Hook."""
        return []

    @classmethod
    def of(cls: type[Options], options: Options | Mapping[str, Any] | None) -> Options:
        """Return options given as such, as a mapping with the same names (from a plans file), or not at all.

        Raises:
            NetworkPlanError: a name that is no option, or a value that is not allowed.
        """
        if isinstance(options, cls):
            return options
        given: dict[str, Any] = dict(options or {})  # type: ignore[arg-type]
        names = [f.name for f in fields(cls)]
        unknown = sorted(set(given) - set(names))
        if unknown:
            raise NetworkPlanError(f"{cls.__name__}: no option {', '.join(unknown)}; there are {', '.join(names)}.")
        return cls(**given)

    def as_json(self) -> dict[str, Any]:
        """Return what differs from the defaults, in a form that a plans file can hold and `of` reads back."""
        changed = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != f.default}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in changed.items()}

    def _wrong_words(self) -> list[str]:
        """Return a message for each option that takes words and has another value."""
        return [
            f"{name} is {getattr(self, name)!r}, expected one of {', '.join(map(repr, get_args(hint)))}"
            for name, hint in get_type_hints(type(self)).items()
            if getattr(hint, "__origin__", None) is Literal and getattr(self, name) not in get_args(hint)
        ]


def is_count(value: object, *, odd: bool = False) -> bool:
    """Return whether `value` is a whole number of at least 1 (and odd, if asked)."""
    return isinstance(value, int) and value >= 1 and (not odd or value % 2 == 1)
