"""Options that make small networks of the rows of paper 001."""

from __future__ import annotations

from typing import Any

SHRINK: dict[str, dict[str, Any]] = {"res50-unet": {"encoder": "test_resnet"}}
