"""
# attribution_nightly

Touchpoint exports become published channel credit, in one straight line:

`load` → `check_exports` → `build` → `check_statistics` → `attribute` → `marts` → `stage` →
`check_credits` → `publish`

* Every task is idempotent for its date. After a failure, clear the failed task, or the whole run.
* **A refused gate fails at once**, without a retry: the log names the expectation and the figures.
  What was published stays as it was. Correct the export, then clear the run.
* A task is tried again only where that can help: a disk was full, a share away, or another run held
  the lock. Whatever else fails, fails at once. A task also refuses to go on with another run that
  began in between.
* Param `date` (YYYY-MM-DD) is the day to publish; empty means the newest day in the exports.
  Param `settings` overrides values of dbt_project.yml for one run: `{"lookback_days": 60}`.
* The asset `attribution_published` is updated only after the published version was swapped:
  schedule reports on it. Its event bears the version's `run_id` and folder.
* With `ATTRIBUTION_EMAIL` set, addresses separated by commas, Airflow mails what failed, what a
  gate refused and what was published, by its connection `smtp_default`.

The pool `attribution` has one slot, because the warehouse has one writer.
"""

from __future__ import annotations

import logging
import os
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import Asset, Context, Param, chain, dag, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException

PUBLISHED = Asset("attribution_published")
log = logging.getLogger(__name__)


def take(step: str, run: str | None = None) -> dict[str, Any]:
    """One step of the run that `load` began; only what may pass by itself is tried again."""
    from attribution.errors import AttributionError
    from attribution.pipeline import Line, run_step

    params = get_current_context()["params"]
    try:
        return run_step(Line.from_params(params), step, run)
    except AttributionError as error:
        if error.may_pass:
            raise
        raise AirflowFailException(str(error)) from None


def tell_failure(context: Context) -> None:
    """One line for whoever watches the logs."""
    log.error(
        "attribution_nightly: %s failed, nothing was published: %s",
        context["task_instance"].task_id,
        context.get("exception"),
    )


def mail(subject: str, text: str) -> list[Any]:
    """A mail of Airflow's own to whom ATTRIBUTION_EMAIL names; none without."""
    to = os.environ.get("ATTRIBUTION_EMAIL")
    if not to:
        return []
    from airflow.providers.smtp.notifications.smtp import SmtpNotifier

    return [SmtpNotifier(to=to, subject=f"attribution: {subject}", html_content=text)]


@dag(
    schedule="0 4 * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    tags=["attribution"],
    doc_md=__doc__,
    params={
        "date": Param("", type="string", pattern=r"^(\d{4}-\d{2}-\d{2})?$", title="Run date"),
        "settings": Param({}, type="object", title="Settings above dbt_project.yml"),
    },
    default_args={
        "pool": "attribution",
        "retries": 2,
        "retry_delay": timedelta(minutes=5),
        "execution_timeout": timedelta(hours=3),
        "on_failure_callback": [
            tell_failure,
            *mail("{{ ti.task_id }} failed, nothing was published", "{{ exception | e }}"),
        ],
    },
)
def attribution_nightly() -> None:
    @task
    def load() -> str:
        return str(take("load")["run"])

    @task
    def check_exports(run: str) -> dict[str, Any]:
        return take("check exports", run)

    @task
    def build(run: str) -> dict[str, Any]:
        return take("build", run)

    @task
    def check_statistics(run: str) -> dict[str, Any]:
        return take("check statistics", run)

    @task
    def attribute(run: str) -> dict[str, Any]:
        return take("attribute", run)

    @task
    def marts(run: str) -> dict[str, Any]:
        return take("marts", run)

    @task
    def stage(run: str) -> dict[str, Any]:
        return take("stage", run)

    @task
    def check_credits(run: str) -> dict[str, Any]:
        return take("check credits", run)

    @task(
        outlets=[PUBLISHED],
        on_success_callback=mail("published", "{{ ti.xcom_pull(ti.task_id)['run_id'] | e }}"),
    )
    def publish(run: str) -> dict[str, Any]:
        figures = take("publish", run)
        get_current_context()["outlet_events"][PUBLISHED].extra = {
            name: figures[name] for name in ("run_id", "folder")
        }
        return figures

    run = load()
    chain(
        run,
        check_exports(run),
        build(run),
        check_statistics(run),
        attribute(run),
        marts(run),
        stage(run),
        check_credits(run),
        publish(run),
    )


attribution_nightly()
