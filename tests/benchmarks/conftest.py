"""The scripts in benchmarks/ import one another by name, as they do when they run; so do their tests."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
