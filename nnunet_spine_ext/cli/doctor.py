"""`nnunet_spine doctor`."""

from __future__ import annotations

import typer


def command() -> None:
    """Check versions, folders, GPU, disk, shared memory, and that nnU-Net finds every trainer of ours.

    Each line says what was found; a failed line says what to do. Exit code 1 when a line failed.

    \b
    nnunet_spine doctor
    """
    from nnunet_spine_ext.doctor import diagnose

    checks = diagnose()
    for check in checks:
        print(check)
    if any(check.state == "failed" for check in checks):
        raise typer.Exit(1)
