"""Is there room on the disks, before work begins that would fill them?"""

from __future__ import annotations

import shutil
from collections.abc import Collection

from attribution.errors import LoadError, PublishError
from attribution.landing import Landing
from attribution.settings import Folders

# Bytes of state/ per byte landed: see docs/operations.md for how they were measured.
PER_BYTE = 4
PER_PACKED_BYTE = 20
PACKED = (".gz", ".parquet")


def check_state(folders: Folders, landing: Landing, known: Collection[tuple[str, int]]) -> None:
    """Raise LoadError where state/ has no room for the landed files that are new.

    known : export and size of files: there is no time to hash what is too large, and names may be
        turned on each night.
    """
    needed = sum(
        size * (PER_PACKED_BYTE if path.suffix in PACKED else PER_BYTE)
        for export, path in landing.files
        if (export.name, size := path.stat().st_size) not in known
    )
    free = shutil.disk_usage(folders.state).free
    if free < needed:
        raise LoadError(
            f"load: {folders.state} has {_megabytes(free)} free and the new files may need "
            f"{_megabytes(needed)}: free space, or set ATTRIBUTION_STATE to a larger disk"
        )


def check_publish(folders: Folders) -> None:
    """Raise PublishError where publish/ has no room for one more version like the last."""
    version = (folders.publish / "current").resolve()
    if not version.is_dir():
        return
    needed = sum(path.stat().st_size for path in version.rglob("*"))
    free = shutil.disk_usage(folders.publish).free
    if free < needed:
        raise PublishError(
            f"stage: {folders.publish} has {_megabytes(free)} free and a version takes "
            f"{_megabytes(needed)}: free space, lower keep_versions, or set ATTRIBUTION_PUBLISH"
        )


def _megabytes(size: int) -> str:
    return f"{size / 2**20:,.0f} MB"
