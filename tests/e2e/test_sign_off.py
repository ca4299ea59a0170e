"""Identifiers, records and signatures on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.station import Station

WATCH = ("watch", "demo://apl?seed=1&frames=4", "--max-frames", "1", "--json", "--out", "out")


def test_an_identifier_is_not_used_again_without_a_word_and_records_stay_apart(
    station: Station, bundle: Path
) -> None:
    watch = (*WATCH, "--bundle", bundle, "--slide", "P1")
    assert station.run(*watch).code == 0
    page = station.folder / "out/slides/P1/report.html"
    first = page.read_bytes()
    refused = station.run(*watch)
    assert refused.code == 2
    assert "slide has a record already: P1" in refused.err
    assert "--again" in refused.err
    again = station.run(*watch, "--again")
    assert again.code == 0, again.err
    second = json.loads(again.out.splitlines()[-1])
    assert second["report"] == "out/slides/P1.record2/report.html"
    assert page.read_bytes() == first

    history = ("journal", "history", "--json")
    assert station.run(*history).document["records"] == []  # drawn slides are no patient's
    one, two = station.run(*history, "--demonstrations").document["records"]
    assert one["content"]["demonstration"] is True
    assert one["content"]["bundle"]["name"]
    assert [one["content"]["slide"], two["content"]["slide"]] == ["P1", "P1"]

    sign = ("journal", "sign-off", two["hash"])
    unclear = station.run(*sign, "--confirm", "--repeat", "--by", "AB")
    assert unclear.code == 2
    assert "give one of --confirm" in unclear.err
    done = station.run(*sign, "--overrule", "AML", "--by", "AB", "--comment", "blasts, no rods")
    assert done.code == 0, done.err
    assert "overruled: AML by AB" in done.out
    newest = station.folder / second["report"]
    assert "blasts, no rods" in newest.read_text(encoding="utf-8")
    assert "Not signed" in newest.with_name("report.v1.html").read_text(encoding="utf-8")
    assert page.read_bytes() == first
    one, two = station.run(*history, "--demonstrations", "--slide", "P1").document["records"]
    assert [one["signed"], two["signed"]] == [False, True]
    assert two["content"]["verdict"] == second["verdict"]
    shown = station.run("journal", "history", "--demonstrations").out
    assert "overruled: AML by AB" in shown
    assert "not signed" in shown
    assert "overruled: AML by AB" in station.run("journal", "list").out
    assert station.run("journal", "verify").code == 0


@pytest.mark.slow
def test_demonstrations_may_be_played_again_and_are_marked(station: Station) -> None:
    reports = []
    for _ in range(2):
        done = station.run("demo", "healthy", "--json", "--out", "out")
        assert done.code == 0, done.err
        ended = json.loads(done.out.splitlines()[-1])
        assert ended["bundle"]["name"] == "apl-demo"
        reports.append(ended["report"])
    assert len(set(reports)) == 2
    assert all((station.folder / report).is_file() for report in reports)
    assert "(demonstration)" in station.run("journal", "list").out
    assert "2 demonstrations left out" in station.run("journal", "history").out
