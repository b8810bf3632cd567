"""Options that make small networks of the attention heads on published encoders."""

from __future__ import annotations

from typing import Any

# timm's test_resnet has four stages like any ResNet, and 0.4 M weights.
SHRINK: dict[str, dict[str, Any]] = {
    "danet": {"encoder": "test_resnet", "width": 32},
    "emanet": {"encoder": "test_resnet", "width": 16, "bases": 4},
    # Output stride 8: at 16 the attention of the tests' small patches would be over one position or two.
    "psanet": {"encoder": "test_resnet", "width": 16, "output_stride": 8, "aux": True},
    "infnet": {"encoder": "test_resnet", "width": 4},
    "transunet": {"blocks": (1, 1, 1), "width": 32, "embedding": 32, "depth": 2, "heads": 2},
}
