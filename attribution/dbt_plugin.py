"""What profiles.yml names as a plugin of dbt-duckdb: dbt's engine is bounded as ours is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dbt.adapters.duckdb.plugins import BasePlugin
from duckdb import DuckDBPyConnection

from attribution.settings import in_bytes
from attribution.warehouse import bound_threads, confine


class Plugin(BasePlugin):  # type: ignore[misc]
    """config: `folders`, those that a model may read and write, separated by line breaks;
    `memory_limit`, that of the engine.
    """

    def initialize(self, plugin_config: dict[str, Any]) -> None:
        self.folders = [Path(folder) for folder in plugin_config["folders"].splitlines()]
        self.memory = in_bytes(plugin_config["memory_limit"])

    def configure_connection(self, conn: DuckDBPyConnection) -> None:
        bound_threads(conn, self.memory)
        confine(conn, self.folders)
