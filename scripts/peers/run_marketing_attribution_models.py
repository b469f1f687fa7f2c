"""marketing-attribution-models (DP6): Markov of order 1, Shapley without its cut to 4 channels."""

from importlib import import_module
from typing import Any

from serve import Rows, Values, Work, serve


def prepare(rows: Rows) -> Any:
    import_module("mam.core")
    paths, converted, journeys = rows.by_outcome()
    polars = import_module("polars")
    columns = {"path": paths, "converted": list(map(bool, converted)), "journeys": journeys}
    return polars.DataFrame(columns)


def plan(table: Any, task: dict[str, Any]) -> tuple[Work, Values]:
    journeys = import_module("mam.core").MAM

    def fitted() -> Any:
        return journeys(
            table, "grouped_journey", "path", "converted", occurrences_colname="journeys"
        )

    if task["model"] == "shapley":
        return lambda: fitted().run_shapley(max_size=None), credit
    return lambda: fitted().run_markov(), effects


def effects(result: Any) -> dict[str, float]:
    table = result.metadata["removal_effect"]
    return dict(zip(table.index, map(float, table["removal_effect"]), strict=True))


def credit(result: Any) -> dict[str, float]:
    table = result.to_polars()
    return dict(zip(table["channels"], table["attribution"], strict=True))


if __name__ == "__main__":
    serve(prepare, plan)
