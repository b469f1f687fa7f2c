"""What profiles.yml names as a plugin of dbt-duckdb: dbt's engine reaches no more than ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dbt.adapters.duckdb.plugins import BasePlugin
from duckdb import DuckDBPyConnection

from attribution.warehouse import confine


class Plugin(BasePlugin):  # type: ignore[misc]
    """config: `folders`, those that a model may read and write, separated by line breaks."""

    def initialize(self, plugin_config: dict[str, Any]) -> None:
        self.folders = [Path(folder) for folder in plugin_config["folders"].splitlines()]

    def configure_connection(self, conn: DuckDBPyConnection) -> None:
        confine(conn, self.folders)
