"""A copy of a function that finds other objects under some of its global names; the original stays as it is.

nnU-Net's command cannot be told which predictor class to use, nor its predictor which export. A copy of that one
function, bound to our object, runs nnU-Net's own code with it: its argument parser, its folders, its order of steps, in
whatever release is installed. Nothing in nnU-Net's modules changes, for no one.
"""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any


class RebindingError(Exception):
    """The function does not use a name that was to be replaced."""


def rebound(function: Callable[..., Any], **replacements: object) -> Callable[..., Any]:
    """Return a copy of a Python function that sees `replacements` instead of its module's objects of these names.

    Raises:
        RebindingError: the function uses no such global name (another release of nnU-Net, perhaps).
    """
    code = function.__code__
    unused = [name for name in replacements if name not in code.co_names]
    if unused or not isinstance(function, FunctionType):
        raise RebindingError(f"{function.__qualname__} does not use {', '.join(unused) or 'globals'}")
    names = {**function.__globals__, **replacements}
    copy = FunctionType(code, names, function.__name__, function.__defaults__, function.__closure__)
    copy.__kwdefaults__ = function.__kwdefaults__
    copy.__doc__, copy.__qualname__, copy.__module__ = function.__doc__, function.__qualname__, function.__module__
    return copy
