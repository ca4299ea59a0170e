"""Tables hold every cell and every frame, and nothing that is not a number where one belongs."""

from __future__ import annotations

import csv
import json
import math
import uuid
from pathlib import Path

import numpy as np
import pytest

from edgeapl.errors import StorageError
from edgeapl.report.cell_classes import cell_kinds, role_kinds
from edgeapl.report.geojson import feature_collection
from edgeapl.report.outline import outlines
from edgeapl.report.tables import (
    FRAME_COLUMNS,
    TableFile,
    cell_areas,
    cell_columns,
    cell_rows,
    frame_row,
    role_columns,
)
from edgeapl.report.user_columns import FurtherColumns
from edgeapl.types import ExaminedFrame, Reason
from tests.drawn_slides import ROLES, UM_PER_PX, context, examined, floats

KINDS = ["promyelocyte", "failed", "myeloblast", "not_examined", "other", "not_needed"]


def read_back(folder: Path, frame: ExaminedFrame, slide: str = "s") -> list[dict[str, str]]:
    table = TableFile(folder / "cells.csv", cell_columns(tuple(ROLES)))
    kinds = cell_kinds(frame, context(), role_kinds(context()))
    table.add(cell_rows(slide, frame, tuple(ROLES), cell_areas(frame.detections), kinds))
    table.finish()
    with (folder / "cells.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_every_cell_has_a_row_and_only_scored_cells_have_scores(tmp_path: Path) -> None:
    frame = examined(3, KINDS, first=40)
    rows = read_back(tmp_path, frame)
    assert [row["cell"] for row in rows] == ["40", "41", "42", "43", "44", "45"]
    expected = ["scored", "failed", "scored", "not_examined", "scored", "not_needed"]
    assert [row["status"] for row in rows] == expected
    classes = ["promyelocyte", "", "myeloblast", "", "other cell", ""]
    assert [row["class"] for row in rows] == classes
    assert role_columns(list(rows[0])) == tuple(ROLES)
    assert role_columns([name for name in rows[0] if name != "class"]) == tuple(ROLES)
    for number, row in enumerate(rows):
        for column in (*ROLES, "suspicion"):
            values = frame.suspicion if column == "suspicion" else frame.roles[column]
            if row["status"] == "scored":
                assert float(row[column]) == pytest.approx(float(values[number]), abs=1e-6)
            else:
                assert row[column] == ""
        box = [float(row[edge]) for edge in ("x0", "y0", "x1", "y1")]
        assert box == frame.detections.boxes[number].tolist()
        pixels = int((frame.detections.labels == number + 1).sum())
        assert float(row["area_um2"]) == pytest.approx(pixels * UM_PER_PX**2, rel=1e-3)
    assert "nan" not in (tmp_path / "cells.csv").read_text(encoding="utf-8").lower()


def test_texts_from_outside_can_not_become_formulas_or_break_rows(tmp_path: Path) -> None:
    frame = examined(0, ["other"], source="=cmd|'/c calc'!A1\n\x1b[2Jx\udcff,\"")
    (row,) = read_back(tmp_path, frame, slide="@slide")
    assert row["slide"] == "'@slide"
    assert row["frame"] == "'=cmd|'/c calc'!A1\\n\\x1b[2Jx\\xff,\""


def test_every_frame_has_a_row_with_its_digest_and_why_it_was_not_used() -> None:
    used = dict(zip(FRAME_COLUMNS, frame_row("s", examined(1, KINDS)), strict=True))
    columns = ("used", "cells", "scored", "not_examined", "failed", "not_needed")
    assert [used[name] for name in columns] == ["yes", 6, 3, 1, 1, 1]
    assert used["sha256"] == f"{1:064x}"
    refused = examined(2, [], rejected=(Reason("black", "all black"),))
    row = dict(zip(FRAME_COLUMNS, frame_row("s", refused), strict=True))
    assert (row["used"], row["cells"], row["reasons"]) == ("no", 0, "all black")


def test_a_cell_is_named_for_its_suspicious_role_even_when_another_is_more_probable() -> None:
    frame = examined(0, ["other", "other"])
    roles = {role: floats(0.1, 0.1) for role in ROLES}
    roles["auer_rod"] = floats(0.5, 0.49999)
    roles["myeloblast"] = floats(0.99, 0.99)
    frame = ExaminedFrame(
        frame.frame, frame.detections, frame.ids, frame.status, roles, frame.suspicion
    )
    names = [kind.name for kind in cell_kinds(frame, context(), role_kinds(context()))]
    assert names == ["Auer rod", "myeloblast"]


def test_a_threshold_counts_as_reached_in_the_precision_of_the_scores() -> None:
    frame = examined(0, ["other"])
    roles = {role: floats(0.1) for role in ROLES} | {"promyelocyte": floats(0.7)}
    frame = ExaminedFrame(
        frame.frame, frame.detections, frame.ids, frame.status, roles, frame.suspicion
    )
    settings = context(roles={**ROLES, "promyelocyte": 0.7})
    (kind,) = cell_kinds(frame, settings, role_kinds(settings))
    assert kind.name == "promyelocyte"


def test_geojson_has_what_qupath_reads() -> None:
    frame = examined(7, KINDS, first=10)
    kinds = cell_kinds(frame, context(), role_kinds(context()))
    rings = outlines(frame.detections)
    areas = cell_areas(frame.detections)
    data = json.loads(feature_collection("s\n", frame, kinds, rings, areas))
    assert data["type"] == "FeatureCollection"
    assert len(data["features"]) == len(KINDS)
    for row, feature in enumerate(data["features"]):
        assert feature["type"] == "Feature"
        assert str(uuid.UUID(feature["id"])) == feature["id"]
        assert feature["geometry"]["type"] == "Polygon"
        (ring,) = feature["geometry"]["coordinates"]
        assert ring[0] == ring[-1]
        assert len(ring) >= 4
        properties = feature["properties"]
        assert properties["objectType"] == "detection"
        assert properties["name"] == f"cell {10 + row}"
        assert set(properties["classification"]) == {"name", "color"}
        measured = properties["measurements"]
        assert all(math.isfinite(value) for value in measured.values())
        unscored = KINDS[row] in ("failed", "not_examined", "not_needed")
        assert ("Suspicion" in measured) is not unscored
        assert properties["metadata"]["slide"] == "s\\n"
    names = [feature["properties"]["classification"]["name"] for feature in data["features"]]
    assert names == [
        "promyelocyte", "failed", "myeloblast", "not examined", "other cell", "not needed",
    ]  # fmt: skip


def test_a_cell_in_two_pieces_is_one_geojson_object_with_both() -> None:
    frame = examined(7, ["other"])
    rings = [(np.array([[0, 0], [4, 0], [4, 4.0]]), np.array([[9, 9], [12, 9], [12, 12.0]]))]
    kinds = cell_kinds(frame, context(), role_kinds(context()))
    (feature,) = json.loads(feature_collection("s", frame, kinds, rings, [1.0]))["features"]
    assert feature["geometry"]["type"] == "MultiPolygon"
    assert [len(polygon) for polygon in feature["geometry"]["coordinates"]] == [1, 1]


def test_a_table_gets_a_mark_with_its_first_umlaut_and_only_then(tmp_path: Path) -> None:
    table = TableFile(tmp_path / "t.csv", ("slide", "n"))
    table.add([["a", 1]])
    assert (tmp_path / "t.csv").read_bytes() == b"slide,n\na,1\n"
    table.add([["ä", 2]])
    table.add([["Ω", 3]])
    assert (tmp_path / "t.csv").read_bytes() == "\ufeffslide,n\na,1\nä,2\nΩ,3\n".encode()
    TableFile(tmp_path / "u.csv", ("µm",))
    assert (tmp_path / "u.csv").read_bytes() == "\ufeffµm\n".encode()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t.csv", "u.csv"]
    with pytest.raises(StorageError):
        TableFile(tmp_path / "u.csv", ("µm",))


def test_further_columns_never_take_the_name_of_ours() -> None:
    further = FurtherColumns(("Slide", "list_slide", "=x", "ok"), {"a.png": ("1", "2", "3", "@")})
    columns = cell_columns(("auer_rod",))
    free = further.free_headings(columns)
    assert free == ("list_Slide", "list_list_slide", "'=x", "ok")
    assert further.cells("a.png") == ["1", "2", "3", "'@"]
    assert further.cells("other.png") == [""] * 4
    assert role_columns((*columns, *free)) == ("auer_rod",)
