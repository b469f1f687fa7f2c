"""Settings come from dbt_project.yml: every value that changes numbers. Folders and secrets come
from the environment. All are read once, checked whole, and frozen.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, available_timezones

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from attribution.errors import SettingsError

time_zones = cache(available_timezones)  # it walks folders, and every export has a zone

try:  # ten times as fast
    from yaml import CSafeLoader as SafeLoader
except ImportError:
    from yaml import SafeLoader  # type: ignore[assignment]

ROOT = Path(__file__).resolve().parents[1]
HEURISTICS = (
    "first_touch",
    "last_touch",
    "last_non_direct",
    "linear",
    "position_based",
    "time_decay",
)
FITTED = (
    "markov",
    "shapley",
    "path_counterfactual",
    "shao_li",
    "logistic",
    "additive_hazard",
    "ladder",
    "ladder_calibrated",
)
# Columns of expectations/ with a warning, which the setting critical_checks may name.
WARNINGS = (
    "days_overdue",
    "extra_columns",
    "rows_conflicting",
    "rows_read",
    "share_unmapped",
    "size_ratio",
)

Name = Annotated[str, Field(min_length=1, max_length=200)]
Days = Annotated[int, Field(ge=1, le=3650)]


class Settings(BaseModel):
    """The `vars:` block of dbt_project.yml, typed and range-checked; its comments explain each."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    reporting_timezone: str
    reporting_currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    rate_days: Annotated[int, Field(ge=0, le=366)]
    lookback_days: Days
    lookback_days_by_goal: dict[Name, Days]
    window_days: Days | Literal["all"]
    goals: Annotated[list[Name], Field(min_length=1)] | Literal["all"]
    fit_journeys: Literal["all", "matured"]
    direct_channel: Name
    steps: Annotated[list[Name], Field(max_length=12)]
    segments: Annotated[
        list[Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_]*$")]], Field(max_length=10)
    ]
    models: Annotated[list[str], Field(min_length=1)]
    markov_order: Annotated[int, Field(ge=1, le=4)] | Literal["auto"]
    markov_nulls: Literal["use", "ignore"]
    shapley_game: Literal["conversions", "rate", "exact_rate", "model"]
    ladder_weekdays: bool
    sample_customers: Annotated[int, Field(ge=100)]
    random_seed: Annotated[int, Field(ge=0)]
    position_based_first: Annotated[float, Field(ge=0, le=1, strict=False)]
    position_based_last: Annotated[float, Field(ge=0, le=1, strict=False)]
    time_decay_half_life_days: Annotated[float, Field(gt=0, strict=False)]
    replicate_groups: Annotated[int, Field(ge=2, le=1000)]
    performance_period: Literal["day", "week", "month", "quarter"]
    few_conversions: Annotated[int, Field(ge=1)]
    small_cell: Annotated[int, Field(ge=1)]
    touchpoint_sources: Annotated[list[Name], Field(min_length=1)]
    conversion_sources: Annotated[list[Name], Field(min_length=1)]
    spend_sources: list[Name]
    report_language: Literal["en", "de"]
    csv_decimal: Literal["point", "comma"]
    pseudonymise: bool
    max_bad_row_share: Annotated[float, Field(ge=0, le=1, strict=False)]
    future_gap_days: Days
    max_age_days: Annotated[int, Field(ge=1, le=36500)]
    max_touchpoints_per_customer: Annotated[int, Field(ge=1)]
    critical_checks: list[str]
    retention_days: Days | Literal["all"]
    quarantine_days: Days
    incremental: bool
    keep_versions: Annotated[int, Field(ge=2, le=1000)]
    memory_limit: Annotated[str, Field(pattern=r"^\d+(\.\d+)?\s?[KMGT]i?B$")]

    @field_validator("reporting_timezone")
    @classmethod
    def _known_zone(cls, zone: str) -> str:
        if zone not in time_zones():
            raise ValueError("is no time zone of the tz database, such as Europe/Berlin")
        return zone

    @field_validator("steps")
    @classmethod
    def _distinct(cls, steps: list[str]) -> list[str]:
        if len(set(steps)) < len(steps):
            raise ValueError("names a rung of the ladder twice")
        return steps

    @field_validator("segments")
    @classmethod
    def _once_each(cls, segments: list[str]) -> list[str]:
        if "all" in segments or len(set(segments)) < len(segments):
            raise ValueError("names each column once, and `all` is always there")
        return segments

    @field_validator("models")
    @classmethod
    def _known_models(cls, models: list[str]) -> list[str]:
        unknown = sorted(set(models) - set(HEURISTICS) - set(FITTED))
        if unknown:
            raise ValueError(f"{unknown[0]!r} is none of {', '.join(HEURISTICS + FITTED)}")
        if "last_touch" not in models:
            raise ValueError("last_touch is the yardstick of change_vs_last_touch: keep it")
        return models

    @field_validator("critical_checks")
    @classmethod
    def _known_checks(cls, checks: list[str]) -> list[str]:
        unknown = sorted(set(checks) - set(WARNINGS))
        if unknown:
            raise ValueError(f"{unknown[0]!r} is none of {', '.join(WARNINGS)}")
        return checks

    @model_validator(mode="after")
    def _ends_fit_in_one(self) -> Settings:
        ends = self.position_based_first + self.position_based_last
        if not 0 < ends <= 1:
            raise ValueError("position_based_first + position_based_last must lie in (0, 1]")
        return self

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.reporting_timezone)

    @property
    def memory_bytes(self) -> int:
        return in_bytes(self.memory_limit)

    def fingerprint(self) -> str:
        """SHA-256 of every value: two runs with equal fingerprints mean the same numbers."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def in_bytes(size: str) -> int:
    """The bytes of a size as `memory_limit` writes it: 1GB, 1.5 GiB."""
    number, unit = re.split(r"\s?(?=[KMGT])", size, maxsplit=1)
    return int(float(number) * (1024 if "i" in unit else 1000) ** (" KMGT".index(unit[0])))


PATTERNS = set("*?[]")


@dataclass(frozen=True)
class Folders:
    """Where things lie. Only `from_environment` reads the environment."""

    landing: Path
    state: Path
    publish: Path
    dbt_project: Path
    expectations: Path = ROOT / "expectations"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Folders:
        env = os.environ if environment is None else environment
        home = Path(env.get("ATTRIBUTION_HOME") or "var")

        def place(variable: str, default: Path) -> Path:
            folder = Path(env.get(variable) or default).absolute()
            if set(str(folder)) & PATTERNS:
                raise SettingsError(
                    f"{variable}: {folder} holds one of {' '.join(sorted(PATTERNS))}, which makes "
                    "it a pattern to the engine: choose a folder without"
                )
            return folder

        return cls(
            landing=place("ATTRIBUTION_LANDING", home / "landing"),
            state=place("ATTRIBUTION_STATE", home / "state"),
            publish=place("ATTRIBUTION_PUBLISH", home / "publish"),
            dbt_project=place("ATTRIBUTION_DBT_PROJECT", ROOT / "dbt_project"),
        )

    @property
    def warehouse(self) -> Path:
        return self.state / "warehouse.duckdb"

    @property
    def archive(self) -> Path:
        """What was loaded, under pseudonyms: enough to build the warehouse anew."""
        return self.state / "archive"

    @property
    def quarantine(self) -> Path:
        return self.state / "quarantine"

    @property
    def scratch(self) -> Path:
        """Decoded files and spilled tables; emptied by every run."""
        return self.state / "scratch"

    @property
    def contract(self) -> Path:
        return self.dbt_project / "models" / "staging" / "_exports.yml"


def load_settings(dbt_project: Path, overrides: Mapping[str, Any] | None = None) -> Settings:
    """Settings of a dbt project, with overrides on top.

    Parameters
    ----------
    dbt_project : folder that holds dbt_project.yml.
    overrides : values by setting name, as given by `--set`.

    Raises
    ------
    SettingsError
        in one line that lists every problem with its key.
    """
    path = dbt_project / "dbt_project.yml"
    try:
        project = read_yaml(path)
        declared = dict(project["vars"][project["name"]])
    except FileNotFoundError:
        raise SettingsError(
            f"{path} is missing: set ATTRIBUTION_DBT_PROJECT to the folder of a dbt project"
        ) from None
    except (yaml.YAMLError, KeyError, TypeError, ValueError, OSError) as error:
        raise SettingsError(
            f"{path} cannot be read as a dbt project with `vars:` under its own name: "
            f"{one_line(error)}"
        ) from None
    try:
        settings = Settings.model_validate(declared | dict(overrides or {}))
        _check_sources(dbt_project, settings)
        return settings
    except ValidationError as error:
        raise SettingsError(
            f"settings of {path}: {_problems(error)}; correct `vars:` there or the --set option"
        ) from None


def _check_sources(dbt_project: Path, settings: Settings) -> None:
    """Refuse a source without the model that maps it."""
    lacking = [
        f"{setting}: {source}, of which there is no model {model}"
        for setting, export in (
            ("touchpoint_sources", "touchpoints"),
            ("conversion_sources", "conversions"),
            ("spend_sources", "spend"),
        )
        for source in getattr(settings, setting)
        if not any(dbt_project.glob(f"models/**/{(model := f'stg_{export}__{source}')}.*"))
    ]
    if lacking:
        raise SettingsError(
            f"settings of {dbt_project / 'dbt_project.yml'}: {'; '.join(lacking)}: write it, or "
            "correct the name"
        )


def read_yaml(path: Path) -> Any:
    """A document of plain values."""
    return yaml.load(path.read_text(encoding="utf-8"), Loader=SafeLoader)


def hmac_key(settings: Settings, environment: Mapping[str, str] | None = None) -> bytes | None:
    """The pseudonym key, or None where the settings say that ids stay as they are."""
    if not settings.pseudonymise:
        return None
    env = os.environ if environment is None else environment
    key = env.get("ATTRIBUTION_HMAC_KEY", "")
    if not key.strip():
        raise SettingsError(
            "ATTRIBUTION_HMAC_KEY is not set, so customer ids would stay readable: set it to a "
            "secret of your own, or set `pseudonymise: false` in dbt_project.yml"
        )
    return key.encode()


def one_line(error: object) -> str:
    """An error's text without its line breaks, cut where it turns into a report."""
    text = " ".join(str(error).split())
    return text if len(text) <= 400 else text[:397] + "..."


def _problems(error: ValidationError) -> str:
    found = []
    for problem in error.errors(include_url=False, include_input=False):
        key = ".".join(str(part) for part in problem["loc"]) or "vars"
        if problem["type"] == "extra_forbidden":
            message = "is no setting"
        elif problem["type"] == "missing":
            message = "is missing"
        else:
            message = problem["msg"].removeprefix("Value error, ")
        found.append(f"{key}: {message}")
    return "; ".join(found)
