"""Words and numbers of what people read, in the language of the setting `report_language`.

Texts stand side by side in `pages/texts.yml`; numbers and dates are those of the language (CLDR by
Babel). What the data says (channels, goals) is never translated.
"""

from __future__ import annotations

import re
from datetime import date, datetime
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from babel import Locale
from babel.dates import format_date, format_datetime
from babel.numbers import format_currency, format_decimal, get_currency_symbol
from markupsafe import Markup

PAGES = Path(__file__).parent / "pages"
LANGUAGES = {"en": "en_GB", "de": "de_DE"}
NOTHING = "–"
# Marks that do not show, or that turn the direction of what follows: a reader has to see them.
UNSEEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\uffff]"
)


class Wording:
    """Texts and numbers in one language.

    Methods take None for what is not known and give `–` for it.
    """

    def __init__(self, language: str, currency: str) -> None:
        self.language = language
        self.currency = currency
        self._locale = Locale.parse(LANGUAGES[language])
        self._texts = _texts()

    @property
    def decimal_sign(self) -> str:
        return str(self._locale.number_symbols["latn"]["decimal"])

    @property
    def currency_sign(self) -> str:
        return str(get_currency_symbol(self.currency, self._locale))

    def text(self, key: str, **values: object) -> str:
        """A text by its key, with values put in; KeyError where there is none."""
        text: str = self._texts[key][self.language]
        return text.format(**values) if values else text

    def has(self, key: str) -> bool:
        return key in self._texts

    def number(self, value: float | None, digits: int = 0) -> str:
        if value is None:
            return NOTHING
        form = "#,##0" + ("." + "0" * digits if digits else "")
        return str(format_decimal(_no_minus_zero(value, digits), form, locale=self._locale))

    def credit(self, value: float | None) -> str:
        """Conversions: whole where they are many, with a decimal where they are few."""
        return self.number(value, 0 if value is not None and abs(value) >= 1000 else 1)

    def percent(self, value: float | None, digits: int = 1) -> str:
        sign = "%" if self.language == "en" else "\u00a0%"
        return NOTHING if value is None else self.number(value * 100, digits) + sign

    def ratio(self, value: float | None) -> str:
        """How many times, as return on spend: 12.3, and 0.04."""
        size = abs(value or 0.0)
        return self.number(value, 2 if size < 1 else 1 if size < 100 else 0)

    def change(self, value: float | None, digits: int = 0) -> str:
        """A fraction as a change: +12 %."""
        if value is None:
            return NOTHING
        plus = "+" if round(value * 100, digits) > 0 else ""
        return plus + self.percent(value, digits).replace("-", "\u2212")

    def interval(self, low: float | None, high: float | None) -> str:
        """Two fractions as an interval in percent, without the sign."""
        if low is None or high is None:
            return NOTHING
        return f"{self.number(low * 100, 1)}\u2013{self.number(high * 100, 1)}"

    def money(self, value: float | None, digits: int = 0) -> str:
        if value is None:
            return NOTHING
        form = self._locale.currency_formats["standard"].pattern.split(";")[0]
        form = form.replace("0.00", "0" + ("." + "0" * digits if digits else ""))
        value = _no_minus_zero(value, digits)
        return str(format_currency(value, self.currency, form, self._locale, currency_digits=False))

    def each(self, value: float | None) -> str:
        """What one of many costs, without the sign: 1,234 but 0.51."""
        return self.number(value, _digits_of_one(value))

    def price(self, value: float | None) -> str:
        """The same as money."""
        return self.money(value, _digits_of_one(value))

    def day(self, value: date, form: str = "medium") -> str:
        return str(format_date(value, form, locale=self._locale))

    def short_day(self, value: date) -> str:
        return self.day(value, "d MMM" if self.language == "en" else "d. MMM")

    def moment(self, value: datetime) -> str:
        return str(format_datetime(value, "medium", locale=self._locale))


def visible(text: str) -> str:
    """A name from the data with its unseen marks written out, such as ⟨U+202E⟩."""
    return UNSEEN.sub(lambda match: f"⟨U+{ord(match[0]):04X}⟩", text)


def apart(text: str) -> str:
    """A name within a sentence, whose direction leaves the sentence alone (Unicode isolates)."""
    return f"\u2068{visible(text)}\u2069"


def breakable(text: str) -> Markup:
    """The same as markup, which may break after a sign inside a long name."""
    return Markup("<wbr>").join(re.findall(r"[^_/.:|-]*[_/.:|-]?", visible(text))[:-1])


def _digits_of_one(value: float | None) -> int:
    return 2 if value is not None and abs(value) < 100 else 0


def _no_minus_zero(value: float, digits: int) -> float:
    return 0.0 if round(value, digits) == 0 else value


@cache
def _texts() -> dict[str, dict[str, Any]]:
    loaded: dict[str, dict[str, Any]] = yaml.safe_load((PAGES / "texts.yml").read_text("utf-8"))
    return loaded
