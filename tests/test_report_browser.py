"""The report as its readers open it: from a file, without a network, in a real browser.

Pictures of what was seen are kept in build/report/.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from conftest import ROOT, Home
from playwright.sync_api import Browser, Page, sync_playwright
from report_versions import HOSTILE, documents, large, page_alone, renamed
from test_report_headline import page as headline
from test_report_headline import spent, world

from attribution.report_facts import Credit

CHROMIUM = os.environ.get("ATTRIBUTION_CHROMIUM") or shutil.which("chromium")
PICTURES = ROOT / "build" / "report"

pytestmark = pytest.mark.skipif(
    not CHROMIUM,
    reason="no chromium here: `make browser` installs Debian's, or set ATTRIBUTION_CHROMIUM",
)

Open = Callable[..., Page]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-background-networking"],
        )


@pytest.fixture
def opened(browser: Browser) -> Iterator[Open]:
    """Opens a page and, in the end, holds that it was silent and asked for nothing."""
    said: list[str] = []
    contexts = []

    def open_page(path: Path, width: int = 1366, **options: object) -> Page:
        viewport = {"width": width, "height": 850}
        context = browser.new_context(viewport=viewport, offline=True, **options)  # type: ignore[arg-type]
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: said.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: said.append(f"error: {error}"))
        page.on("dialog", lambda dialog: (said.append("dialog"), dialog.dismiss()))
        page.on(
            "request",
            lambda request: request.url == path.as_uri() or said.append(f"asks for {request.url}"),
        )
        page.goto(path.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert said == []


@pytest.fixture(scope="session")
def english(bank: Home) -> Path:
    return bank.current / "report.html"


@pytest.fixture(scope="session")
def german(bank: Home, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("german")
    documents(bank, folder, bank.current, report_language="de")
    return folder / "report.html"


@pytest.fixture(scope="session")
def thirty(bank: Home, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("thirty")
    return page_alone(folder, large(bank, folder))


def picture(page: Page, name: str) -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=PICTURES / f"{name}.png", full_page=True)


def rows(page: Page, table: str = ".channels") -> list[list[str]]:
    """The rows of a table that are to be seen, without those that are no channel."""
    return page.locator(f"{table} tbody:visible tr:not(.fixed):visible").evaluate_all(
        "rows => rows.map(row => Array.from(row.cells, cell => cell.innerText.trim()))"
    )


def test_the_page_says_what_the_marts_say(opened: Open, english: Path, bank: Home) -> None:
    page = opened(english)
    picture(page, "laptop")
    for model in ("Shapley value", "Markov chain", "Last touch"):
        page.get_by_label("Model", exact=True).select_option(label=model)
        found = {row[0].rstrip("*"): row for row in rows(page)}
        name = model.lower().removesuffix(" chain").removesuffix(" value").replace(" ", "_")
        marts = bank.published(
            "select channel, conversions::double, revenue::double, cost::double, "
            "cost_per_conversion, return_on_spend from channel_performance "
            "where model = ? and channel not like '(%'",
            [name],
        )
        assert set(found) == {channel for channel, *_ in marts}
        for channel, conversions, revenue, cost, each, returned in marts:
            row = found[channel]
            assert row[4] == f"{conversions:,.1f}"
            assert row[5] == f"{revenue:,.0f}"
            assert row[7] == ("–" if cost is None else f"{cost:,.0f}")
            if each is None:
                assert row[8] == "–"
            else:
                half = 0.005 if each < 100 else 0.5
                assert float(row[8].replace(",", "")) == pytest.approx(each, abs=half + 1e-9)
            digits = 2 if abs(returned or 0) < 1 else 1
            assert row[9] == ("–" if returned is None else f"{returned:,.{digits}f}")
    [(goal,)] = bank.published(
        "select goal from channel_credit where model = 'last_touch' group by goal "
        "order by sum(conversions) desc, goal limit 1"
    )
    page.get_by_label("Goal", exact=True).select_option(label=goal)
    shares = {row[0].rstrip("*"): row[2:4] for row in rows(page)}
    for channel, share, low, high in bank.published(
        "select channel, share, share_low, share_high from channel_credit "
        "where model = 'last_touch' and goal = ? and segment = 'all' and conversions > 0 "
        "and channel not like '(%'",
        [goal],
    ):
        assert shares[channel] == [f"{share:.1%}", f"{100 * low:.1f}–{100 * high:.1f}"]
    assert page.locator(".chosen").inner_text() == f"{goal} · Last touch"


@pytest.mark.parametrize("language", ["english", "german"])
def test_tables_sort_by_clicks_and_keys(
    opened: Open, language: str, request: pytest.FixtureRequest
) -> None:
    page = opened(request.getfixturevalue(language))

    def numbers(column: int) -> list[float]:
        texts = [row[column] for row in rows(page)]
        if language == "german":
            texts = [text.replace(".", "").replace(",", ".") for text in texts]
        texts = [text.replace(",", "").strip("%\u00a0").replace("\u2212", "-") for text in texts]
        return [float(text) for text in texts if text != "–"]

    def unknown_last(column: int) -> bool:
        known = [row[column] != "–" for row in rows(page)]
        return known == sorted(known, reverse=True)

    for column in (2, 4, 5, 6, 7, 8):
        header = page.locator(".channels thead th").nth(column)
        first = header.get_attribute("data-first")
        header.get_by_role("button").click()
        assert header.get_attribute("aria-sort") == first
        found = numbers(column)
        assert found == sorted(found, reverse=first == "descending")
        assert len(set(found)) > 1
        assert unknown_last(column)
        header.get_by_role("button").focus()
        page.keyboard.press("Enter")
        assert header.get_attribute("aria-sort") != first
        assert numbers(column) == sorted(found, reverse=first != "descending")
        assert unknown_last(column)
        assert page.locator(".channels th[aria-sort]:not([aria-sort=none])").count() == 1
    page.locator(".channels thead th").nth(0).get_by_role("button").click()
    names = [row[0] for row in rows(page)]
    assert names == sorted(names)
    last = page.locator(".channels tbody:visible tr:visible").last
    assert last.inner_text().startswith(("All", "Alle"))


def test_figures_that_look_alike_sort_by_what_they_are(opened: Open, tmp_path: Path) -> None:
    each = {"a": 0.512, "b": 0.514, "c": 0.511, "d": 1.94}
    credit = [
        Credit(channel, 10.0, 50.0, 0.25, cost=10 * cost, cost_per_conversion=cost)
        for channel, cost in each.items()
    ]
    path = tmp_path / "report.html"
    path.write_text(headline(world(spent("a"), rows=credit), "de"), encoding="utf-8")
    page = opened(path)
    page.locator(".channels thead th").nth(8).get_by_role("button").click()
    assert [row[0] for row in rows(page)] == ["c", "a", "b", "d"]
    assert [row[8] for row in rows(page)] == ["0,51", "0,51", "0,51", "1,94"]


def test_the_filter_leaves_the_channels_asked_for(opened: Open, english: Path) -> None:
    page = opened(english)
    everything = rows(page)
    page.get_by_label("Find a channel").fill("SEARCH")
    assert [row[0].rstrip("*") for row in rows(page)] == [
        row[0].rstrip("*") for row in everything if "search" in row[0]
    ]
    assert page.get_by_role("status").inner_text() == f"channels shown: {len(rows(page))}"
    labels = page.locator(".plot:visible .row:visible .label, .trends:visible li:visible .label")
    assert all("search" in text for text in labels.all_inner_texts() if text)
    # it holds for the next view, too
    page.get_by_label("Model", exact=True).select_option(label="Linear")
    assert {"search" in row[0] for row in rows(page)} == {True}
    page.get_by_label("Find a channel").fill("no such channel")
    assert rows(page) == []
    page.get_by_label("Find a channel").fill("")
    assert len(rows(page)) == len(everything)


def test_every_view_is_shown_alone(opened: Open, thirty: Path) -> None:
    page = opened(thirty)
    goals = page.get_by_label("Goal", exact=True)
    models = page.get_by_label("Model", exact=True)
    assert (goals.locator("option").count(), models.locator("option").count()) == (5, 10)
    for goal in range(5):
        goals.select_option(index=goal)
        models.select_option(index=2 * goal)
        for view in (
            ".channels tbody",
            ".models tbody",
            ".plot",
            ".weeks",
            ".trends",
            ".paths tbody",
        ):
            assert page.locator(f"{view}:visible").count() == 1, view
        assert page.locator(".plot:visible g.on").count() == 30
        assert page.locator(".models thead th.on").inner_text().strip() == (
            models.locator("option:checked").inner_text()
        )
    picture(page, "thirty")


@pytest.mark.parametrize("which", ["english", "german", "thirty"])
def test_no_width_needs_scrolling_sideways(
    opened: Open, which: str, request: pytest.FixtureRequest
) -> None:
    page = opened(request.getfixturevalue(which))
    for width in (320, 390, 768, 1366, 1920):
        page.set_viewport_size({"width": width, "height": 850})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        if width == 390:
            picture(page, f"phone_{which}")


def test_print_shows_the_chosen_view_without_controls(
    opened: Open, thirty: Path, english: Path
) -> None:
    for path in (english, thirty):
        page = opened(path)
        page.emulate_media(media="print")
        assert not page.locator(".controls").is_visible()
        assert page.locator(".chosen").is_visible()
        assert page.locator(".channels tbody:visible").count() == 1
        # 186 mm of an A4 page between its margins
        page.set_viewport_size({"width": 703, "height": 1000})
        assert page.evaluate("document.documentElement.scrollWidth") <= 703
        PICTURES.mkdir(parents=True, exist_ok=True)
        page.pdf(path=PICTURES / f"{path.parent.name}.pdf", prefer_css_page_size=True)


@pytest.mark.parametrize(("language", "scheme"), [("english", "light"), ("german", "dark")])
def test_axe_finds_nothing_serious(
    opened: Open, language: str, scheme: str, request: pytest.FixtureRequest
) -> None:
    page = opened(request.getfixturevalue(language), color_scheme=scheme)
    if scheme == "dark":
        assert page.evaluate("getComputedStyle(document.documentElement).backgroundColor") == (
            "rgb(18, 23, 30)"
        )
        picture(page, f"dark_{language}")
    found = Axe().run(page).response["violations"]
    told = [(v["id"], v["impact"], [node["target"] for node in v["nodes"]][:3]) for v in found]
    assert [finding for finding in told if finding[1] in ("serious", "critical")] == []


def test_keys_reach_everything_and_focus_is_seen(opened: Open, english: Path) -> None:
    page = opened(english)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    assert page.locator(".skip").bounding_box()["x"] >= 0  # type: ignore[index]
    page.keyboard.press("Enter")
    reached = set()
    while True:
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement === document.body"):
            break
        reached.add(
            page.evaluate(
                "document.activeElement.id || document.activeElement.tagName.toLowerCase()"
            )
        )
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
    assert {"button", "div"} <= reached  # to sort, and to scroll what is wide


def test_a_preview_without_scripts_shows_the_first_view(opened: Open, english: Path) -> None:
    page = opened(english, java_script_enabled=False)
    assert page.locator("text=this preview shows the first view").is_visible()
    assert page.locator(".channels tbody:visible").count() == 1
    assert page.locator(".channels tbody:visible tr").count() > 5


def test_hostile_names_are_names(opened: Open, bank: Home, tmp_path: Path) -> None:
    manifest = renamed(bank, tmp_path, HOSTILE)
    manifest["settings"]["small_cell"] = 2
    page = opened(page_alone(tmp_path, manifest), width=390)
    page.get_by_label("Model", exact=True).select_option(label="Linear")
    assert {row[0].rstrip("*") for row in rows(page)} == {
        name.replace("\u202e", "⟨U+202E⟩") for name in HOSTILE
    }
    for index in range(page.locator("#goal option").count()):
        page.get_by_label("Goal", exact=True).select_option(index=index)
    for button in page.locator("th button:visible").all():
        button.click()
    page.get_by_label("Find a channel").fill("<script>")
    assert [row[0].rstrip("*") for row in rows(page)] == [HOSTILE[0]]
    page.get_by_label("Find a channel").fill("")
    assert page.evaluate("typeof hacked") == "undefined"
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    picture(page, "hostile")


def test_the_policy_runs_no_script_but_ours(
    browser: Browser, english: Path, tmp_path: Path
) -> None:
    """Were a value ever written unescaped, the browser would still refuse it."""
    html = english.read_text()
    broken = html.replace(
        "<main>",
        "<main><script>hacked = 1</script><img src=x onerror='hacked = 1'>"
        "<p id=styled style='color: red' onclick='hacked = 1'>x</p>",
    )
    assert broken != html
    (tmp_path / "report.html").write_text(broken)
    context = browser.new_context(offline=True)
    page = context.new_page()
    refused: list[str] = []
    page.on("console", lambda message: refused.append(message.text))
    page.goto((tmp_path / "report.html").as_uri())
    page.locator("#styled").click()
    assert page.evaluate("typeof hacked") == "undefined"
    assert page.locator("#styled").evaluate("e => getComputedStyle(e).color") != "rgb(255, 0, 0)"
    assert len(refused) >= 4
    # while the page itself goes on
    assert page.locator(".chosen").inner_text() != ""
    context.close()
