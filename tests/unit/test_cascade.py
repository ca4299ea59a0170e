"""A small network answers first: only where it is sure, and verdicts allow for its error."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from edgeapl.bundle.load import Bundle
from edgeapl.bundle.manifest import Manifest
from edgeapl.bundle.specs import CascadeSpec, ReducerSpec, RoleSpec, RuleSpec
from edgeapl.calibration.builder import build
from edgeapl.calibration.builder.build import build_engine
from edgeapl.calibration.builder.request import BuildRequest
from edgeapl.calibration.inputs import fp32_opener, network_inputs
from edgeapl.calibration.validation.cells import with_classes
from edgeapl.cli.main import run
from edgeapl.engines.exclusive import ExclusiveEngines
from edgeapl.engines.wrapper import EngineWrapper
from edgeapl.errors import DeadlineError, EngineError, UsageError
from edgeapl.examination import slide
from edgeapl.examination.early_stop import EarlyStop
from edgeapl.inference import classify, scheduler_for
from edgeapl.inference.answer_memo import AnswerMemo
from edgeapl.inference.routing import chain_links
from edgeapl.inference.student_look import StudentLook
from edgeapl.model import Model, open_model
from edgeapl.pipeline import Budget, Observer, SlideOptions, examine_slide
from edgeapl.protocols import Arrays, Engine
from edgeapl.slide_findings import of_model
from edgeapl.stages.cascade import Cascade, Decisions, conformal_margin
from edgeapl.stages.cell_order import Order, examination_order
from edgeapl.stages.intervals import at_most, upper_count, wilson_with_lost
from edgeapl.stages.judge import decide
from edgeapl.stages.reasons import share_bounds
from edgeapl.stages.reduce import Reducer
from edgeapl.stages.sequential import InterimCounts
from edgeapl.types import CellScores, Decision, Detections, Tally, UInt8
from tests.cascades import SPEC, cascade_bundle
from tests.distilling import cell
from tests.small_bundle import drawn_field, scripted
from tests.unit.test_order import cells as boxes

Values = Mapping[str, NDArray[np.float64]]


def some_cells(count: int = 12) -> UInt8:
    random = np.random.default_rng(3)
    names = ("red", "green", "blue")
    return np.stack([cell(names[n % 3], random)[::2, ::2] for n in range(count)])


class Counted(EngineWrapper):
    """An engine that counts its rows, and may fail, hang until cancelled, or answer nonsense."""

    def __init__(self, engine: Engine, fault: str = "") -> None:
        super().__init__(engine)
        self.rows = 0
        self.fault = fault

    def run(self, inputs: Arrays) -> dict[str, NDArray[np.generic]]:
        self.rows += len(next(iter(inputs.values())))
        if self.fault == "fails":
            raise EngineError("it failed", "student")
        if self.fault == "cancelled":
            raise DeadlineError("cancelled", "student")
        answers = super().run(inputs)
        bad = {"nan": np.nan, "above 1": 1.5}
        if self.fault in bad:
            answers = {name: np.full_like(v, bad[self.fault]) for name, v in answers.items()}
        return answers


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return cascade_bundle(tmp_path_factory.mktemp("cascade") / "bundle")


@pytest.fixture
def engines(bundle: Bundle) -> Iterator[dict[str, Counted]]:
    opener = fp32_opener(bundle)
    made = {name: Counted(opener(name)) for name in bundle.manifest.networks}
    yield made
    for engine in made.values():
        engine.close()


def changed(manifest: Manifest, **spec: Any) -> Manifest:
    assert manifest.cascade is not None
    return manifest.model_copy(update={"cascade": manifest.cascade.model_copy(update=spec)})


def alone(manifest: Manifest) -> Manifest:
    return manifest.model_copy(update={"cascade": None})


def test_what_the_student_is_sure_of_goes_no_further(
    bundle: Bundle, engines: dict[str, Counted]
) -> None:
    crops = some_cells()
    wanted = classify(with_classes(alone(bundle.manifest)), engines, crops).checked().scores
    for engine in engines.values():
        engine.rows = 0
    sure = changed(bundle.manifest, margin=0.0)
    scores = classify(with_classes(sure), engines, crops).checked().scores
    assert {name: one.rows for name, one in engines.items()} == {
        "first": 0,
        "second": 0,
        "student": 12,
    }
    for name, values in wanted.roles.items():
        if name in ("malignant", "apl"):
            assert ((values >= 0.5) == (scores.roles[name] >= 0.5)).all()


def test_what_it_is_unsure_of_goes_to_the_parent(
    bundle: Bundle, engines: dict[str, Counted]
) -> None:
    crops = some_cells()
    unsure = changed(bundle.manifest, margin=30.0)
    wanted = classify(with_classes(alone(unsure)), engines, crops).checked().scores
    scores = classify(with_classes(unsure), engines, crops).checked().scores
    assert {name: values.tolist() for name, values in scores.roles.items()} == {
        name: values.tolist() for name, values in wanted.roles.items()
    }


@pytest.mark.parametrize("fault", ["nan", "above 1", "fails"])
def test_a_student_that_fails_costs_no_cell(
    bundle: Bundle, engines: dict[str, Counted], fault: str
) -> None:
    crops = some_cells()
    wanted = classify(alone(bundle.manifest), engines, crops).checked().scores
    engines["student"].fault = fault
    result = classify(changed(bundle.manifest, margin=0.0), engines, crops).checked()
    assert not len(result.failed)
    assert {name: values.tolist() for name, values in result.scores.roles.items()} == {
        name: values.tolist() for name, values in wanted.roles.items()
    }


def test_a_student_that_is_cancelled_waits_with_its_cells(
    bundle: Bundle, engines: dict[str, Counted]
) -> None:
    engines["student"].fault = "cancelled"
    scheduler = scheduler_for(bundle.manifest, engines)
    scheduler.enter(np.arange(3, dtype=np.int64), some_cells(3))
    with pytest.raises(DeadlineError):
        scheduler.run(flush=True)
    assert scheduler.held == {0, 1, 2}
    engines["student"].fault = ""
    assert len(scheduler.run(flush=True).scores) == 3


DECISIONS = Decisions(("r", "s"), (0.0, math.log(0.2 / 0.8)), (("a", "b", "c"),))


def values(**columns: list[float]) -> Values:
    return {name: np.array(column) for name, column in columns.items()}


def test_the_margin_is_the_distance_to_the_nearest_other_decision() -> None:
    given = values(
        r=[0.9, 0.5, 0.0, np.nan],
        s=[0.9, 0.9, 0.2, 0.9],
        a=[0.7, 0.7, 0.98, 0.7],
        b=[0.2, 0.2, 0.01, 0.2],
        c=[0.1, 0.1, 0.01, 0.1],
    )
    margins = DECISIONS.margins(given)
    assert margins[0] == pytest.approx(math.log(0.7 / 0.2))  # its class is the nearest
    assert margins[1] == pytest.approx(0)  # on the threshold of r
    assert margins[2] == pytest.approx(0)  # on that of s; r was not asked
    assert np.isnan(margins[3])
    assert DECISIONS.margins({name: v[0] for name, v in given.items()}) == margins[0]


def test_distances_are_below_0_where_both_decide_alike() -> None:
    student = values(r=[0.9, 0.9, 0.9], s=[0.1] * 3, a=[0.7] * 3, b=[0.2] * 3, c=[0.1] * 3)
    parent = values(
        r=[0.6, 0.1, 0.6], s=[0.1] * 3, a=[0.5, 0.5, 0.1], b=[0.3] * 3, c=[0.2, 0.2, 0.6]
    )
    alike, other_side, other_class = DECISIONS.distances(student, parent).tolist()
    assert alike == pytest.approx(math.log(0.1 / 0.9) - math.log(0.2 / 0.8))
    assert other_side == pytest.approx(math.log(0.9 / 0.1))
    assert other_class == pytest.approx(math.log(0.7 / 0.1))


def test_at_most_the_stated_share_is_answered_otherwise() -> None:
    random = np.random.default_rng(5)
    wrong, sure, error = [], [], 0.02
    one = Decisions(("r",), (0.0,), ())
    for _ in range(60):
        truth = random.random(1400)
        noise = random.normal(0, 1.5, 1400)
        parent = {"r": truth}
        student = {"r": 1 / (1 + np.exp(-(6 * (truth - 0.5) + noise)))}
        first = {name: v[:400] for name, v in student.items()}
        margin = conformal_margin(one.distances(first, {"r": truth[:400]}), error)
        stands = one.margins(student)[400:] > margin
        wrong.append((stands & (one.distances(student, parent)[400:] > 0)).mean())
        sure.append(stands.mean())
    assert np.mean(wrong) <= error + 3 * np.std(wrong) / math.sqrt(len(wrong))
    assert np.mean(sure) > 0.3


def test_too_few_cells_let_nothing_through() -> None:
    assert conformal_margin(np.full(198, -5.0), 0.005) == math.inf
    assert conformal_margin(np.full(199, -5.0), 0.005) == 5.0


def test_counts_are_exceeded_by_chance_alone() -> None:
    for total, share in ((20, 0.01), (500, 0.004), (169, 0.2)):
        most = upper_count(total, share, 0.975)
        assert at_most(most, total, share) >= 0.975
        assert most == 0 or at_most(most - 1, total, share) < 0.975
    assert upper_count(7, 1.0, 0.9) == 7
    assert upper_count(7, 0.0, 0.9) == 0


RULE = RuleSpec(
    flag_at=0.2, clear_below=0.2, suspicious_share=0.2, min_scored=50, max_lost_share=0.1
)
ROLES = (RoleSpec(name="apl", network="n", output="apl", threshold=0.5, suspicious=True),)


def reducer(*, with_student: bool) -> Reducer:
    cascade = Cascade("student", CascadeSpec.model_validate(SPEC), Decisions((), (), ()))
    return Reducer(ROLES, ReducerSpec(kind="vote"), cascade=cascade if with_student else None)


def judged(positive: int, cells: int, *, with_student: bool) -> tuple[Decision, Any]:
    own = reducer(with_student=with_student)
    scores = np.zeros(cells, np.float32)
    scores[:positive] = 1
    nothing = np.empty((cells, 0), np.float32)
    state = own.add(
        own.empty(), CellScores(np.arange(cells, dtype=np.int64), {"apl": scores}, nothing)
    )
    tally = Tally(cells, scored=cells)
    reduced, _ = own.reduce(state, None, tally, RULE.confidence)
    return decide(RULE, reduced, tally, ())[0], reduced


def test_clear_allows_for_the_students_error() -> None:
    # Of 26 positive cells of 200 the upper end is just below 20 %, of 26 and some wrong ones above.
    assert judged(26, 200, with_student=False)[0] is Decision.CLEAR
    decision, reduced = judged(26, 200, with_student=True)
    assert decision is Decision.REVIEW
    assert reduced.otherwise == 4
    expected = wilson_with_lost(26, 0, 200, 0.95, 4)
    assert reduced.interval == reduced.counts[0].interval == expected
    assert share_bounds(RULE, reduced, Tally(200, scored=200)) == expected


def test_flag_allows_for_it_too_and_is_never_lost() -> None:
    # With too few cells a flag rests on the lower end of the interval.
    assert judged(9, 25, with_student=False)[0] is Decision.FLAG
    assert judged(9, 25, with_student=True)[0] is Decision.REVIEW
    assert judged(14, 25, with_student=True)[0] is Decision.FLAG
    # With enough it rests on the share, whatever the student may have missed.
    assert judged(40, 200, with_student=True)[0] is Decision.FLAG


def test_no_frame_is_left_early_on_what_the_student_may_have_missed(bundle: Bundle) -> None:
    def decided(model: Model, positive: int) -> bool:
        both = (positive, positive, positive)  # malignant, APL, and suspicious
        counts = InterimCounts(100, 100, both, 0, 0, (0, 0, 0), 0, (0, 0, 0))
        part = SimpleNamespace(count=100, pending=0, interim=lambda roles: counts)
        return EarlyStop(model, 0.001).is_decided(part)

    with open_model(bundle.folder) as model:
        assert model.reducer.otherwise(100) == 3
        without = replace(model, reducer=Reducer.of(alone(bundle.manifest)))
        assert decided(without, 50)  # flag_at is 0.5
        assert not decided(model, 52)
        assert decided(model, 53)


def test_the_verdict_says_what_it_allows_for(bundle: Bundle) -> None:
    (note,) = [one for one in of_model(bundle.manifest) if one.code == "cascade"]
    assert "up to 0.7 % of cells" in note.text.replace("\u202f", " ").replace("\xa0", " ")


def test_the_most_suspicious_cells_come_first() -> None:
    sizes = [10 + n for n in range(40)]
    suspicion = np.zeros(40, np.float32)
    suspicion[[3, 17, 21]] = 0.9, 0.4, 0.9
    order = examination_order(boxes(sizes), suspicion)
    assert order.first.tolist()[:3] == [21, 3, 17]
    assert order.first.tolist()[3:] == [39, 38, 37, 36, 35], "then the largest"
    assert sorted(order.rows.tolist()) == list(range(40))


def test_the_first_look_is_at_all_cells_and_only_once(
    bundle: Bundle, engines: dict[str, Counted]
) -> None:
    crops, memo = some_cells(), AnswerMemo()
    cascade = Cascade.of(bundle.manifest)
    assert cascade is not None
    look = StudentLook(bundle.manifest, cascade, engines, 4, 1, memo)
    suspicion = look.suspicion(crops)
    assert suspicion is not None
    assert (suspicion[0::3] > 0.9).all(), "red cells are suspicious"
    assert (suspicion[2::3] < 0.1).all(), "blue ones are not"
    scheduler = scheduler_for(bundle.manifest, engines, 4, memo=memo)
    scheduler.enter(np.arange(12, dtype=np.int64), crops)
    assert len(scheduler.run(flush=True).scores) == 12
    assert engines["student"].rows == 12
    engines["student"].fault = "nan"
    again = StudentLook(bundle.manifest, cascade, engines, 4, 1, AnswerMemo()).suspicion(crops)
    assert again is not None
    assert (again == 1).all(), "what has no answer is looked at first"
    engines["student"].fault = "cancelled"
    late = StudentLook(bundle.manifest, cascade, engines, 4, 1, AnswerMemo())
    assert late.suspicion(crops) is None


def test_a_cascade_is_no_chain_on_a_device(bundle: Bundle, engines: dict[str, Counted]) -> None:
    assert chain_links(bundle.manifest) == ()
    chain = cast(Any, SimpleNamespace(most_cells=4))
    with pytest.raises(EngineError, match="does not run as a chain on a device"):
        scheduler_for(bundle.manifest, engines, chain=chain)


def test_no_plans_are_built_for_it(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "runtime_version", lambda target: "1")
    wanted = BuildRequest(bundle.folder, "fp32", "tensorrt", out=tmp_path / "engines")
    with pytest.raises(UsageError, match="does not run as a chain on a device"):
        build_engine(wanted, lambda text: None)


def test_its_networks_are_calibrated_on_what_each_sees_alone(
    bundle: Bundle, tmp_path: Path
) -> None:
    manifest = changed(bundle.manifest, margin=0.0)  # the student is sure of all
    found = network_inputs(manifest, fp32_opener(bundle), [some_cells()], (), tmp_path)
    assert {name: len(rows) for name, rows in found.items()} == {
        "student": 12,
        "first": 12,
        "second": 8,
    }


def test_the_bundle_passes_its_self_test(bundle: Bundle) -> None:
    with open_model(bundle.folder) as model:
        assert model.reducer.otherwise(200) == 4
    names = tuple(bundle.manifest.networks)
    with ExclusiveEngines(names, fp32_opener(bundle)) as engines:
        assert len(classify(bundle.manifest, engines, some_cells()).checked().scores) == 12


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"cascade": {**SPEC, "network": "nobody"}}, "'nobody' is used but not listed"),
        ({"cascade": {**SPEC, "network": "second"}}, "must see every cell"),
        ({"cascade": {**SPEC, "network": "first"}}, "have no role itself"),
        ({"cascade": {**SPEC, "otherwise": 1001}}, "more cells answered otherwise"),
        ({"cascade": {**SPEC, "margin": -1.0}}, "greater than or equal to 0"),
        (
            {"crop": {"window_um": 6.4, "size_px": 32, "views": 8}},
            "views of a cell would be judged by different networks",
        ),
        ({"features": "first.mean"}, "features need a network that sees every cell"),
    ],
)
def test_a_manifest_that_cannot_be_is_refused(
    bundle: Bundle, changes: dict[str, Any], says: str
) -> None:
    given = bundle.manifest.model_dump(mode="json", exclude_none=True)
    with pytest.raises(ValidationError, match=says):
        Manifest.model_validate({**given, **changes})


@pytest.mark.parametrize("budget", [None, Budget(60)])
def test_against_the_clock_the_students_order_is_followed(
    bundle: Bundle, budget: Budget | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[Any] = []

    def noted(detections: Detections, suspicion: Any = None) -> Order:
        looks.append(suspicion)
        return examination_order(detections, suspicion)

    monkeypatch.setattr(slide, "examination_order", noted)
    pixels = drawn_field([(52, 52), (148, 52), (52, 148), (148, 148)])
    with open_model(bundle.folder) as model:
        student = Counted(model.engines["student"])
        watched = replace(model, engines={**model.engines, "student": student})
        options = SlideOptions(budget=budget)
        outcome = examine_slide(watched, "s", scripted([pixels]), options, Observer())
    verdict = outcome.verdict
    assert verdict.tally.scored == verdict.tally.seen == student.rows > 0
    assert [len(one) for one in looks] == ([verdict.tally.seen] if budget else [])
    assert any(reason.code == "cascade" for reason in verdict.reasons)


def test_inspect_says_which_network_answers_first(
    bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["inspect", str(bundle.folder)]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "cascade student first, the others where it is unsure" in shown
    assert "2 of 1000 held-back cells otherwise" in shown
