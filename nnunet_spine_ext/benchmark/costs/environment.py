"""Hardware and versions, for the footer of a comparison and to tell whether a measurement still holds."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import nnunet_spine_ext
from nnunet_spine_ext.errors import SetupError

PACKAGES = ("nnunetv2", "torch", "dynamic-network-architectures", "timm", "numpy", "SimpleITK")


def describe_environment(device: str) -> dict[str, str]:
    """Return hardware, versions and switches of nnU-Net's that decide speed; no dates, no names of machines or people.

    Args:
        device: "cuda" or "cpu": what is measured on.

    Raises:
        SetupError: there is no such device.
    """
    facts = {
        "device": device,
        "cpu": _cpu_name(),
        "cpu_cores": str(os.cpu_count()),
        "memory_gb": _memory_gb(),
        **(_gpu() if device == "cuda" else {"gpu": "none used"}),
        "torch_compile": _compiles(device),
        "precision": "fp16 autocast" if device == "cuda" else "fp32",
        "loading_processes": os.environ.get("nnUNet_n_proc_DA", "nnU-Net's default"),  # noqa: SIM112
        "nnunet_spine_ext": nnunet_spine_ext.__version__,
        **{package: _version(package) for package in PACKAGES},
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
    }
    return {name: value for name, value in facts.items() if value}


def _gpu() -> dict[str, str]:
    import torch

    if not torch.cuda.is_available():
        raise SetupError("torch sees no CUDA GPU. Measure on the CPU (device cpu), or see: nnunet_spine doctor")
    properties = torch.cuda.get_device_properties(0)
    return {
        "gpu": properties.name,
        "gpu_memory_gb": f"{properties.total_memory / 2**30:.1f}",
        "driver": _driver(),
        "cuda": str(torch.version.cuda),
        "cudnn": str(torch.backends.cudnn.version()),  # type: ignore[no-untyped-call]
    }


def _driver() -> str:
    """Return the version of the GPU's driver, or nothing where nvidia-smi is not at hand."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip().splitlines()[0] if done.stdout.strip() else ""


def _compiles(device: str) -> str:
    """Say whether nnU-Net compiles networks here: by default on a GPU, never on a CPU or on Windows."""
    if device == "cpu" or os.name == "nt":
        return "off"
    value = os.environ.get("nnUNet_compile", "true")  # noqa: SIM112
    return "on" if value.lower() in ("true", "1", "t") else "off"


def _cpu_name() -> str:
    file = Path("/proc/cpuinfo")
    if file.is_file():
        names = [line.partition(":")[2].strip() for line in file.read_text().splitlines() if "model name" in line]
        if names:
            return names[0]
    return platform.processor() or platform.machine()


def _memory_gb() -> str:
    try:
        return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.1f}"
    except (AttributeError, ValueError, OSError):  # Windows
        return ""


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
