"""Options that make small networks of the context heads on published encoders."""

from __future__ import annotations

from typing import Any

# timm's test_resnet has four stages like any ResNet, and 0.4 M weights.
SHRINK: dict[str, dict[str, Any]] = {
    "pspnet": {"encoder": "test_resnet", "width": 16, "aux": True},
    "deeplabv3": {"encoder": "test_resnet", "width": 16},
    "deeplabv3plus": {"encoder": "test_resnet", "width": 16, "aux": True},
    "denseaspp": {"encoder": "test_resnet", "inner_width": 16, "growth": 8},
}
