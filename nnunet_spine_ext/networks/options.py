"""The options of a network: one frozen dataclass each, checked when made, which a plans file can hold as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal, TypeVar, get_args, get_origin, get_type_hints

from nnunet_spine_ext.networks.plan_shape import NetworkPlanError

Options = TypeVar("Options", bound="NetworkOptions")


@dataclass(frozen=True, kw_only=True)
class NetworkOptions:
    """Base of all options: a subclass adds fields with defaults, and what it knows of wrong values.

    Words (`Literal`), switches (`bool`) and whole numbers (`int`, `int | None`) are checked by their annotation.

    Raises:
        NetworkPlanError: values that are not allowed; all of them are named.
    """

    least: ClassVar[Mapping[str, int]] = {}
    """Option that is a whole number → the smallest that is allowed, where that is not 1."""
    odd: ClassVar[frozenset[str]] = frozenset()
    """Options whose whole number must be odd."""

    def __post_init__(self) -> None:
        found = [*self._wrong_words(), *self._wrong_numbers(), *self.wrong_values(), *self._wrong_switches()]
        if found:
            raise NetworkPlanError(f"{type(self).__name__}: " + "; ".join(found) + ".")

    def wrong_values(self) -> list[str]:
        """Return a message for each value that is not allowed and that no annotation tells. Hook."""
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
        return [
            f"{name} is {getattr(self, name)!r}, expected one of {', '.join(map(repr, get_args(hint)))}"
            for name, hint in self._hints()
            if get_origin(hint) is Literal and getattr(self, name) not in get_args(hint)
        ]

    def _wrong_numbers(self) -> list[str]:
        found = []
        for name, hint in self._hints():
            value, least, odd = getattr(self, name), self.least.get(name, 1), name in self.odd
            optional = set(get_args(hint)) == {int, type(None)}
            if (hint is int or (optional and value is not None)) and not is_count(value, least=least, odd=odd):
                wanted = "odd and positive" if odd else f"a whole number of at least {least}"
                found.append(f"{name} is {value!r}, expected {wanted}")
        return found

    def _wrong_switches(self) -> list[str]:
        return [
            f"{name} is {getattr(self, name)!r}, expected true or false"
            for name, hint in self._hints()
            if hint is bool and not isinstance(getattr(self, name), bool)
        ]

    def _hints(self) -> list[tuple[str, object]]:
        """Return the annotation of each option."""
        hints = get_type_hints(type(self))
        return [(f.name, hints[f.name]) for f in fields(self)]


def is_count(value: object, *, least: int = 1, odd: bool = False) -> bool:
    """Return whether `value` is a whole number of at least `least` (and odd, if asked)."""
    return isinstance(value, int) and value >= least and (not odd or value % 2 == 1)
