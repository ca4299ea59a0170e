"""The style sheet of a report: its printed header, and cells in groups."""

from __future__ import annotations

import re

import pytest

from edgeapl.report.page_style import LONGEST_IN_HEADER, css_text, page_style

HOSTILE = '"; } * { display: none } /* \\ \n </style><script>1</script>\u202e'


def unescaped(text: str) -> str:
    return re.sub(r"\\([0-9a-f]+) ", lambda found: chr(int(found[1], 16)), text)


@pytest.mark.parametrize("text", ["S-2041", HOSTILE, "Müller 7", "\N{MICROSCOPE}", "a" * 30])
def test_no_text_can_end_a_string_of_the_style_sheet(text: str) -> None:
    escaped = css_text(text)
    assert unescaped(escaped) == text
    assert re.fullmatch(r"(?:[A-Za-z0-9 ]|\\[0-9a-f]+ )*", escaped)


def test_every_printed_sheet_names_its_slide_and_its_page() -> None:
    style = page_style("S-2041", 0)
    assert re.search(r'@top-left \{ content: "Slide S\\2d 2041"; \}', style)
    assert 'content: "Page " counter(page) " of " counter(pages)' in style
    assert "Research use only" in style


def test_a_long_identifier_leaves_room_for_the_page_number() -> None:
    header = re.search(r'@top-left \{ content: "Slide ([^"]*)"', page_style("x" * 200, 0))
    assert header is not None
    assert len(unescaped(header[1])) == LONGEST_IN_HEADER


def test_each_group_of_cells_has_its_place() -> None:
    style = page_style("S", 3)
    for number in range(3):
        assert f".cells .group-{number} {{ order: {number}; }}" in style
    assert ".group-3" not in style
