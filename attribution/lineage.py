"""The page of dbt's documentation: every table and column, and what comes of what.

It tells of the project, not of the data, so it is made when somebody asks and not every night, in
an engine of its own that holds no row.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from attribution.errors import PublishError
from attribution.settings import Folders, Settings, one_line
from attribution.transform import dbt

# What the page does without a server: nothing may leave it, whatever a description holds.
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src data:; font-src data:"
)


def write_docs(folders: Folders, settings: Settings, overrides: Mapping[str, Any]) -> Path:
    """Write publish/docs.html, one self-contained file; it replaces the former one whole.

    Raises
    ------
    BuildError
        where dbt refuses the project.
    PublishError
        where publish/ cannot be written.
    """
    with tempfile.TemporaryDirectory(prefix="attribution-docs-") as temporary:
        apart = replace(folders, state=Path(temporary))
        (apart.scratch / "spill").mkdir(parents=True)
        dbt(apart, settings, overrides, ["docs", "generate", "--static", "--empty-catalog"])
        page = (apart.state / "dbt" / "static_index.html").read_text(encoding="utf-8")
    for folder, name in ((temporary, "state"), (str(folders.dbt_project), "dbt_project")):
        page = page.replace(json.dumps(folder)[1:-1], name)
    tag = f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
    page = page.replace("<head>", f"<head>{tag}", 1)
    target = folders.publish / "docs.html"
    half = folders.publish / ".docs.html.tmp"
    try:
        folders.publish.mkdir(parents=True, exist_ok=True)
        half.unlink(missing_ok=True)
        half.write_text(page, encoding="utf-8")
        half.chmod(0o444)
        half.replace(target)
    except OSError as error:
        raise PublishError(
            f"docs: {one_line(error)}; free space or set ATTRIBUTION_PUBLISH to a folder that this "
            "user may write, then run again"
        ) from None
    return target
