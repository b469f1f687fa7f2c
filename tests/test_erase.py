"""A customer leaves: no byte of theirs stays, nobody else loses any, and they stay away."""

import io
import json
import shutil
import signal
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from conftest import KEY, Home, land_small_world
from faults import (
    folders,
    ledger_adds_up,
    no_litter,
    published_is_whole,
    say,
    texts_below,
    times,
)

from attribution import archive
from attribution.conform import BLANKS
from attribution.pseudonyms import People, bare, pseudonym
from attribution.suppression import people

BROKEN = (
    "touchpoint_id,customer_id,occurred_at,channel\n"
    "b1,k9,2026-01-02 10:00:00,search\n"
    "b2,k9,yesterday,search\n"
)


def listed(home: Home) -> list[dict]:
    return json.loads(home.must("quarantine", "list", "--format", "json").stdout)


def test_an_erased_customer_is_in_no_byte_and_stays_away(after_run: Home) -> None:
    """Raw ids, pseudonyms, visitors linked to them; old versions, quarantine, logs, receipts."""
    canary, visitor = "CANARY-4711-müller", "VISITOR-4711"
    after_run.land(
        "touchpoints",
        "canary_2026-01-05.csv",
        "touchpoint_id,customer_id,occurred_at,channel\n"
        f"touch-4711-a,{visitor},2026-01-02 10:00:00,search\n"
        f"touch-4711-b,{canary},2026-01-03 10:00:00,branch\n",
    )
    after_run.land(
        "identities",
        "j.csv",
        f"anonymous_id,customer_id,linked_at\n{visitor},{canary},2026-01-03\n",
    )
    delivery = (
        "conversion_id,customer_id,converted_at,goal,revenue\n"
        f"contract-4711-a,{canary},2026-01-04 12:00:00,account,11\n"
    )
    after_run.land("conversions", "canary_2026-01-05.csv", delivery)
    after_run.must("run")
    gross = after_run.published(
        "select value from model_diagnostics where name = 'gross_conversions' and goal = 'account'"
    )
    good = "".join(f"g{n},k1,2026-01-02 10:00:00,search\n" for n in range(300))
    after_run.land("touchpoints", "b.csv", BROKEN + f"b3,{canary},never,search\n" + good)
    after_run.land(
        "touchpoints", "whole.csv", f"touchpoint_id,customer_id\nw1,{canary}\n".encode("utf-16")
    )
    after_run.must("load")
    needles = [
        text.encode(encoding)
        for name in (canary, visitor)
        for text in (name, pseudonym(KEY.encode(), name))
        for encoding in ("utf-8", "utf-16-le")
    ] + [b"touch-4711-a", b"touch-4711-b", b"contract-4711-a"]
    kept = [after_run.path / "state", after_run.path / "publish"]
    assert texts_below(kept, needles)
    for path in (after_run.path / "landing").rglob("*"):
        if path.name in ("b.csv", "whole.csv"):
            path.unlink()
    receipt = json.loads(after_run.must("erase", canary).stdout)
    assert (receipt["customers"], receipt["visitors"]) == (1, 1)
    assert receipt["rows"]["touchpoints"] == 2
    assert receipt["rows"]["conversions"] == 1
    assert receipt["rows"]["identities"] == 1
    assert (receipt["quarantined_rows"], receipt["quarantined_files"]) == (1, 1)
    assert texts_below(kept, needles) == []
    published_is_whole(after_run)
    ledger_adds_up(after_run)
    no_litter(after_run)
    assert len(list((after_run.path / "publish" / "versions").iterdir())) == 1

    after_run.land(
        "conversions",
        "again_2026-01-06.csv",
        delivery + "contract-4711-b,k1,2026-01-05 09:00:00,account,1\n",
    )
    after_run.must("run")
    assert after_run.published(
        "select rows_read, rows_loaded, rows_suppressed from load_files where file like 'again%'"
    ) == [(2, 1, 1)]
    assert texts_below(kept, needles[:-3]) == []
    [(after,)] = after_run.published(
        "select value from model_diagnostics where name = 'gross_conversions' and goal = 'account'"
    )
    assert after == gross[0][0]  # one gone, one new
    after_run.must("rebuild")
    assert texts_below(kept, needles[:-3]) == []


def test_nothing_is_erased_from_a_damaged_archive(after_run: Home) -> None:
    """The warehouse is built anew from it: the rows of everyone else would be gone."""
    where = folders(after_run)
    [entry] = [e for e in archive.entries(where) if e["export"] == "identities"]
    rows = archive.rows_file(where, "identities", entry["sha256"])
    content = bytearray(rows.read_bytes())
    content[len(content) // 2] ^= 1
    rows.write_bytes(content)
    before = published_is_whole(after_run)
    counts = after_run.warehouse("select count(*) from raw.touchpoints")
    done = after_run.main("erase", "k1")
    assert done.returncode == 1
    assert "identities/i.csv: its rows in the archive are not what was written" in done.stderr
    assert "nothing was erased yet" in done.stderr
    assert published_is_whole(after_run) == before
    assert after_run.warehouse("select count(*) from raw.touchpoints") == counts
    assert not (after_run.path / "state" / "suppressed.json").exists()


DIES = """
import os, signal, sys
from attribution.cli import main

left = int(sys.argv[1])

def watch(event, arguments):
    global left
    appends = event == "open" and "journal.jsonl" in str(arguments[0]) and arguments[1] == "a+b"
    if appends or event in ("os.rename", "os.remove"):
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(watch)
sys.exit(main(["erase", "k1"]))
"""


def test_an_erasure_that_died_is_finished_by_another(home: Home, tmp_path: Path) -> None:
    """Killed wherever archive and suppression list change: the others keep all of their rows."""
    land_small_world(home)
    home.must("load")  # nothing is published, so that erasing is short

    def rows(of: Home) -> list[tuple]:
        return [
            row
            for table in ("touchpoints", "conversions", "identities")
            for row in of.warehouse(f"from raw.{table} order by all")
        ]

    whole, other = Home(tmp_path / "whole"), Home(tmp_path / "other")
    shutil.copytree(home.path, whole.path, symlinks=True)
    whole.must("erase", "k1")
    # the short form: each time after a line of the journal, before the file that it speaks of
    dies_at, step, died = times(3, 1), times(2, 1), 0
    while True:
        shutil.rmtree(other.path, ignore_errors=True)
        shutil.copytree(home.path, other.path, symlinks=True)
        done = subprocess.run(
            [sys.executable, "-c", DIES, str(dies_at)],
            env=other.environment,
            capture_output=True,
            check=False,
        )
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
        died += 1
        refused = other.main("load")  # what is half erased is not loaded upon
        assert refused.returncode == 0 or "attribution rebuild" in refused.stderr
        for place in ("receipts/.erased-2026-01-05T000000Z.json.tmp", "quarantine/c/.a.tmp"):
            half = other.path / "state" / place  # as one leaves it that dies a moment later
            half.parent.mkdir(parents=True, exist_ok=True)
            half.write_text("k1")
        other.must("erase", "k1")
        assert rows(other) == rows(whole)
        ledger_adds_up(other)
        no_litter(other)
        dies_at += step
    say(f"erase killed at {died} places, each finished by erasing again")
    assert died >= times(3, 9)


def test_erasing_publishes_with_the_settings_of_what_was_published(after_run: Home) -> None:
    after_run.must("run", "--set", "models=[last_touch, linear]", "--date", "2026-01-04")
    after_run.must("erase", "k3")
    assert after_run.published("select distinct model from channel_credit order by 1") == [
        ("last_touch",), ("linear",)
    ]  # fmt: skip
    assert after_run.published("select value from run_manifest where name = 'run_date'") == [
        ("2026-01-04",)
    ]


def test_a_candidate_does_not_keep_an_erased_customer(after_run: Home) -> None:
    """Where nothing is published yet, erasing stages no other candidate over it."""
    after_run.must("stage")
    publish = after_run.path / "publish"
    (publish / "current").unlink()
    shutil.rmtree(publish / "versions")
    assert (publish / "candidate").exists()
    after_run.must("erase", "k1")
    assert list(publish.iterdir()) == []


def test_what_is_refused_after_an_erasure_keeps_no_id(after_run: Home) -> None:
    """A visitor is known by a pseudonym alone, and still no raw text that names one is kept."""
    after_run.land(
        "identities", "j.csv", "anonymous_id,customer_id,linked_at\nVISIT-77,k1,2026-01-03\n"
    )
    after_run.must("load")
    good = "".join(f"g{n},k2,2026-01-02 10:00:00,search\n" for n in range(300))
    named = "b3,VISIT-77,2026-01-02 10:00:00,search,?\nb4,k2,never,search\n"
    head = "touchpoint_id,customer_id,occurred_at,channel\n"
    after_run.land("touchpoints", "rows.csv", head + named + good)
    after_run.must("load")
    after_run.must("erase", "k1")
    needles = [b"VISIT-77"]
    assert texts_below([after_run.path / "state", after_run.path / "publish"], needles) == []
    after_run.land("touchpoints", "again.csv", head + named + good.replace("g", "h"))
    after_run.land("touchpoints", "whole.csv", "touchpoint_id,customer_id\nw1,VISIT-77\n")
    after_run.land("touchpoints", "other.csv", "touchpoint_id,customer_id\nw1,k2\n")
    after_run.must("load")
    assert texts_below([after_run.path / "state", after_run.path / "publish"], needles) == []
    kept = {path.name[13:] for path in (after_run.path / "state" / "quarantine").glob("*/*")}
    assert kept == {"rows.csv.rejected.jsonl", "again.csv.rejected.jsonl", "other.csv"}
    [again] = [e for e in listed(after_run) if e["file"] == "again.csv"]
    shown = after_run.must("quarantine", "show", again["id"]).stdout
    assert "line 2: " in shown
    assert "(not kept)" in shown
    assert "b4,k2,never,search" in shown


def test_erasing_says_where_publishing_without_them_failed(after_run: Home) -> None:
    before = published_is_whole(after_run)
    after_run.land("touchpoints", "broken.csv", BROKEN)
    done = after_run.main("erase", "k1")
    assert done.returncode == 1
    assert "published versions still do" in done.stderr
    assert published_is_whole(after_run) == before
    after_run.must("quarantine", "drop", listed(after_run)[0]["id"])
    after_run.must("erase", "k1")
    assert after_run.published(
        "select count(*) from conversion_credit where conversion_id = 'c1'"
    ) == [(0,)]


def test_erasing_before_anything_was_published_needs_no_run(home: Home) -> None:
    land_small_world(home)
    home.must("load")
    receipt = json.loads(home.must("erase", "k1").stdout)
    assert receipt["rows"]["touchpoints"] == 2
    assert not home.current.exists()


def test_erasing_before_anything_was_loaded_keeps_them_away(home: Home) -> None:
    receipt = json.loads(home.must("erase", "k1").stdout)
    assert (receipt["customers"], set(receipt["rows"].values())) == (1, {0})
    land_small_world(home)
    home.must("load")
    [(suppressed,)] = home.warehouse(
        "select sum(rows_suppressed) from raw._files where export = 'touchpoints'"
    )
    assert suppressed == 2


def test_erase_takes_ids_from_a_file_and_refuses_none(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    land_small_world(home)
    home.must("load")
    ids = tmp_path / "ids"
    # as an editor saves it, and with a blank that does not show from where it was copied
    ids.write_bytes(b"\xef\xbb\xbfk1\r\n\n\xe2\x80\x8bk2\n")
    assert json.loads(home.must("erase", "--file", str(ids)).stdout)["customers"] == 2
    assert home.warehouse("select count(*) from raw.conversions") == [(2,)]
    piped = io.TextIOWrapper(io.BytesIO("\ufeffMüller\n".encode()), encoding="latin-1")
    monkeypatch.setattr(sys, "stdin", piped)
    home.must("erase", "--file", "-")
    stored = People(KEY.encode()).stored("Müller")
    assert people(folders(home), KEY.encode()).knows_erased(stored)
    for arguments in (["erase"], ["erase", "--file", str(tmp_path / "none")]):
        done = home.main(*arguments)
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
    state = home.path / "state"
    for path in [state / "suppressed.json", *(state / "receipts").iterdir()]:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_an_export_of_a_former_contract_is_erased_too(home: Home, tmp_path: Path) -> None:
    """Its columns are not known any more; and a contract may have gained one since a file came."""
    project = tmp_path / "project"
    shutil.copytree(home.dbt_project, project, ignore=shutil.ignore_patterns("target"))
    contract = project / "models" / "staging" / "_exports.yml"
    ours = contract.read_text()
    former = """
      - name: visits
        config: {meta: {required: [visit_no, visitor], pseudonyms: [visitor], optional: true}}
        columns:
          - {name: visit_no, data_type: varchar}
          - {name: visitor, data_type: varchar}
"""
    contract.write_text(ours.rstrip() + former)
    home = Home(land_small_world(home).path, project)
    home.land("visits", "v.csv", "visit_no,visitor\n1,k1\n2,k2\n3,\n4,k4\n")
    home.must("load", "--set", "max_bad_row_share=1")
    gained = "pseudonyms: [anonymous_id, customer_id, partner_id]"
    changed = ours.replace("pseudonyms: [anonymous_id, customer_id]", gained)
    assert changed != ours
    column = "          - {name: partner_id, data_type: varchar}\n"
    place = changed.index("          - {name: linked_at")
    contract.write_text(changed[:place] + column + changed[place:])
    shutil.rmtree(home.path / "landing" / "visits")
    head = "anonymous_id,customer_id,linked_at,partner_id\n"
    home.land("identities", "j.csv", head + "v9,k9,2026-01-03,k1\n")
    told = home.must("load").stderr
    assert "_exports.yml declares visits no longer" in told
    receipt = json.loads(home.must("erase", "k1", "k3").stdout)
    assert receipt["rows"] | {"visits": 1, "identities": 2, "touchpoints": 3} == receipt["rows"]
    assert "FAIL" not in home.main("doctor").stdout  # for what is declared no longer
    needles = [pseudonym(KEY.encode(), "k1").encode()]
    assert texts_below([home.path / "state"], needles) == []
    contract.write_text(ours.rstrip() + former)  # and whoever is left comes back with it
    home.must("rebuild")
    assert home.warehouse("select visit_no from raw.visits order by 1") == [("2",), ("4",)]


def test_nobody_is_erased_under_another_key(home: Home) -> None:
    """The receipt would speak of people who are others there."""
    land_small_world(home)
    home.must("load")
    done = home.main("erase", "k1", environment={"ATTRIBUTION_HMAC_KEY": "another"})
    assert done.returncode == 1
    assert "nobody was erased: set the ATTRIBUTION_HMAC_KEY" in done.stderr
    assert not (home.path / "state" / "receipts").exists()
    home.must("erase", "k1")
    assert home.warehouse("select count(*) from raw.touchpoints") == [(2,)]


def test_ids_that_stay_as_they_are_are_erased_as_they_are(home: Home) -> None:
    land_small_world(home)
    plain = ("--set", "pseudonymise=false", "--set", "models=[last_touch]")
    home.must("run", *plain)
    receipt = json.loads(home.must("erase", "k1").stdout)
    assert receipt["rows"]["touchpoints"] == 2
    assert home.warehouse("select distinct customer_id from raw.touchpoints order by 1") == [
        ("k2",), ("v3",)
    ]  # fmt: skip


def test_blanks_around_an_id_are_those_that_the_load_strips() -> None:
    everything = [chr(i) for i in range(1, 0x11000) if not 0xD800 <= i < 0xE000]
    with duckdb.connect() as con:
        con.register("characters", pa.table({"c": everything}))
        stripped = con.execute(
            f"select c from characters where regexp_replace(c || 'k' || c, '^{BLANKS}|{BLANKS}$', "
            "'', 'g') = 'k'"
        ).fetchall()
    assert [(c,) for c in everything if bare(f"{c}k{c}") == "k"] == stripped
    assert len(stripped) > 30


@pytest.mark.parametrize(
    ("text", "delimiter"),
    [
        ("t1^cust-1^x", "^"),
        ('"t1"~"cust-1"', "~"),
        ("t1]cust-1", "]"),
        ("t1;\u200bcust-1", ","),
        ("a cust-1 b", ";"),
        ('{"id": "cust\\u002d1"}', ","),
    ],
)
def test_whoever_was_erased_is_known_in_a_text_of_any_shape(text: str, delimiter: str) -> None:
    nobody = People(KEY.encode(), b"salt")
    erased = replace(nobody, suppressed=frozenset([nobody.token(nobody.stored("cust-1"))]))
    assert erased.knows_erased(text, delimiter)
    assert not nobody.knows_erased(text, delimiter)
    assert not erased.knows_erased(text.replace("cust", "just"), delimiter)


def test_a_whole_file_called_like_rejected_rows_is_erased_as_one(home: Home) -> None:
    land_small_world(home)
    home.land("touchpoints", "b.rejected.jsonl", '{"a": "k1"}\n')
    home.land("touchpoints", "c.rejected.jsonl", '{"a": "k7\u2028"}\n')
    home.land(
        "touchpoints", "d.csv", "touchpoint_id,customer_id,occurred_at,channel\nx,k1\u2028,y,z\n"
    )
    home.must("load")
    receipt = json.loads(home.must("erase", "k1").stdout)
    assert (receipt["quarantined_files"], receipt["quarantined_rows"]) == (1, 1)
    kept = [path.name[13:] for path in (home.path / "state" / "quarantine").glob("*/*.jsonl")]
    assert sorted(kept) == ["c.rejected.jsonl", "d.csv.rejected.jsonl"]


def test_names_of_files_stay_and_the_receipt_says_so(home: Home) -> None:
    land_small_world(home)
    home.land("identities", "links_k1_2026.csv", "anonymous_id,customer_id,linked_at\n")
    home.land("identities", "links_k12.csv", "anonymous_id,customer_id,linked_at\n\n")
    home.must("load")
    assert json.loads(home.must("erase", "k1").stdout)["file_names"] == 1
