"""ChannelAttribution, at its defaults: walks simulated on the fitted chain, seed 0, one thread.

GPL-3: it is installed into its own environment and called in its own process by this script.
Nothing of the attribution package imports it or is imported here.
"""

from importlib import import_module
from typing import Any

from serve import Rows, Values, Work, serve


def prepare(rows: Rows) -> Any:
    import_module("ChannelAttribution")
    columns = {"path": rows.paths, "conversions": rows.conversions, "nulls": rows.nulls}
    return import_module("pandas").DataFrame(columns)


def plan(table: Any, task: dict[str, Any]) -> tuple[Work, Values]:
    markov_model = import_module("ChannelAttribution").markov_model

    def work() -> Any:
        return markov_model(
            table,
            "path",
            "conversions",
            var_null="nulls",
            order=task["order"],
            out_more=True,
            verbose=False,
            flg_pro=False,
        )

    return work, effects


def effects(result: Any) -> dict[str, float]:
    table = result["removal_effects"]
    return dict(zip(table["channel_name"], map(float, table["removal_effect"]), strict=True))


if __name__ == "__main__":
    serve(prepare, plan)
