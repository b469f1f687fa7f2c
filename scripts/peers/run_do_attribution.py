"""do-attribution: its exact chain, and the removal strategy that has our definition."""

from importlib import import_module
from typing import Any

from serve import Rows, Values, Work, serve


def prepare(rows: Rows) -> tuple[list[str], list[int], list[int]]:
    import_module("do_attribution")
    return rows.by_outcome()


def plan(
    table: tuple[list[str], list[int], list[int]], task: dict[str, Any]
) -> tuple[Work, Values]:
    model = import_module("do_attribution").MarkovAttribution

    def work() -> Any:
        return model(order=task["order"], removal_strategy="redirect_to_null").fit(*table)

    return work, effects


def effects(result: Any) -> dict[str, float]:
    found: dict[str, float] = result["removal_effects"]
    return found


if __name__ == "__main__":
    serve(prepare, plan)
