"""What may be cleared: earned on labelled slides, refused without, ended when it fails."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from edgeapl.bundle.digest import sha256, sha256_file
from edgeapl.bundle.load import MANIFEST, SEAL, Bundle, open_bundle
from edgeapl.bundle.write import write_bundle
from edgeapl.certification.certifier import CertifyRequest, certify
from edgeapl.certification.evidence import ExaminationOptions, Examined, Labelled, by_patient
from edgeapl.certification.limits import Risk
from edgeapl.errors import BundleError, ConfigError, EdgeAplError, InputError, UsageError
from edgeapl.export.trained_on import training_set
from edgeapl.journal import (
    CertificateStatus,
    Journal,
    Opinion,
    SignOff,
    append_sign_off,
    find_record,
)
from edgeapl.model import EMBEDDED, Model, open_model
from edgeapl.model.assembled import clearing_of
from edgeapl.scoring import ScoreListener, ScoreRequest, score_folder
from edgeapl.sources.discover import SlideInput
from edgeapl.types import Decision
from edgeapl.wording.certificate import summarise_certificate
from tests.certified import (
    SUSPICIOUS,
    UM_PER_PX,
    certified_bundle,
    domain_bundle,
    field,
    write_evidence,
    write_slide,
)
from tests.faults.journal_worker import make_verdict
from tests.small_bundle import png

RISK = Risk(0.3)
"""With which nine patients are enough."""


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return domain_bundle(tmp_path_factory.mktemp("bare") / "bundle")


@pytest.fixture(scope="module")
def certified(bare: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("certified")
    return certified_bundle(bare.folder, folder / "evidence", folder / "bundle")


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal.open(tmp_path / "journal.db") as opened:
        yield opened


def scored(model: Model, slides: Path, journal: Journal, out: Path) -> list[dict[str, Any]]:
    request = ScoreRequest(slides, out, um_per_px=UM_PER_PX)
    return list(score_folder(request, model, journal, ScoreListener()).records)


def score_one(bundle: Bundle, journal: Journal, tmp_path: Path, seed: int = 500) -> dict[str, Any]:
    folder = tmp_path / f"slide-{seed}"
    write_slide(folder, seed)
    with open_model(bundle.folder) as model:
        (record,) = scored(model, folder, journal, tmp_path / f"out-{seed}")
    return record


def codes(record: dict[str, Any]) -> set[str]:
    return {reason["code"] for reason in record["reasons"]}


def test_a_bundle_without_a_certificate_never_clears(
    bare: Bundle, journal: Journal, tmp_path: Path
) -> None:
    record = score_one(bare, journal, tmp_path)
    assert (record["verdict"], record["certificate"]) == ("REVIEW", None)
    texts = [reason["text"] for reason in record["reasons"]]
    assert texts == ["nothing suspicious was found; this model has no proof that it may clear"]


def test_a_certified_bundle_clears_and_every_verdict_says_by_what_proof(
    certified: Bundle, journal: Journal, tmp_path: Path
) -> None:
    record = score_one(certified, journal, tmp_path)
    assert record["verdict"] == "CLEAR"
    (proof,) = [one["text"] for one in record["reasons"] if one["code"] == "certificate"]
    assert "of APL slides like these at most 30 % would be cleared" in proof
    assert "9 patients, 0 of them cleared" in proof
    spec = certified.manifest.certificate
    assert spec is not None
    given = record["certificate"]
    assert given["digest"] == certified.manifest.files[spec.evidence]
    assert (given["patients"], given["cleared"], given["clear_below"]) == (9, 0, 0.5)
    page = next((tmp_path / "out-500").rglob("report.html")).read_text(encoding="utf-8")
    assert "at most 30 % would be cleared" in page
    assert "upper bound 28.3 %" in page


def test_the_evidence_lists_every_slide_with_the_digests_of_its_images(
    certified: Bundle, bare: Bundle
) -> None:
    evidence = json.loads(certified.read("certificate.json"))
    assert evidence["bundle_digest"] == bare.digest
    assert evidence["verdicts"] == {"AML": {"CLEAR": 3}, "APL": {"FLAG": 9}}
    assert len({digest for one in evidence["slides"] for digest in one["images"]}) == 12
    assert certified.manifest.version == "1.0+cal1"
    assert certified.manifest.subject == bare.manifest.subject


def request(bare: Bundle, slides: Path, labels: Path, out: Path, **more: Any) -> CertifyRequest:
    how = ExaminationOptions(um_per_px=UM_PER_PX)
    given: dict[str, Any] = {"how": how, "risk": RISK, **more}
    return CertifyRequest(bare.folder, slides, labels, out=out, **given)


def refusal(asked: CertifyRequest, kind: type[EdgeAplError]) -> str:
    with pytest.raises(kind) as raised:
        certify(asked, lambda text, share: None)
    assert asked.out is not None
    assert not asked.out.exists()
    return str(raised.value)


def test_too_few_patients_prove_nothing_and_it_is_said_how_many_more_it_takes(
    bare: Bundle, tmp_path: Path
) -> None:
    slides, labels = write_evidence(tmp_path, positives=8, others=0)
    text = refusal(request(bare, slides, labels, tmp_path / "out"), InputError)
    assert "8 with the label APL" in text
    assert "at least 1 more" in text
    assert "takes 9" in text


def test_slides_of_one_patient_count_once(bare: Bundle, tmp_path: Path) -> None:
    slides, labels = write_evidence(tmp_path, positives=9, others=0)
    rows = [f"s{number:03d},p{min(number, 7)},APL" for number in range(9)]
    labels.write_text("\n".join(["slide,patient,label", *rows]) + "\n")
    text = refusal(request(bare, slides, labels, tmp_path / "out"), InputError)
    assert "8 with the label APL" in text


def test_one_image_of_two_patients_is_refused(bare: Bundle, tmp_path: Path) -> None:
    slides, labels = write_evidence(tmp_path, positives=9, others=0)
    (slides / "s008" / "0.png").write_bytes((slides / "s000" / "0.png").read_bytes())
    text = refusal(request(bare, slides, labels, tmp_path / "out"), UsageError)
    assert "one image belongs to two patients" in text


def test_a_labelled_positive_slide_must_be_there(bare: Bundle, tmp_path: Path) -> None:
    slides, labels = write_evidence(tmp_path, positives=9, others=0)
    labels.write_text(labels.read_text() + "lost,APL\n")
    text = refusal(request(bare, slides, labels, tmp_path / "out"), InputError)
    assert "slide with label APL is not there: lost" in text


def test_patients_that_look_harmless_leave_no_limit(bare: Bundle, tmp_path: Path) -> None:
    slides, labels = write_evidence(tmp_path, positives=9, others=0, cleared=2)
    done = certify(request(bare, slides, labels, tmp_path / "out"), lambda text, share: None)
    # Below the lowest of both nobody is cleared, and there it ends.
    lowest = min(
        one["clears_below"] for one in done.document["slides"] if one["clears_below"] is not None
    )
    assert lowest - 0.001 < done.document["clear_below"] <= lowest
    assert done.document["verdicts"]["APL"] == {"FLAG": 7, "REVIEW": 2}


def with_list(bare: Bundle, out: Path, name: str, content: dict[str, Any], **more: Any) -> Bundle:
    """Give the bundle with one more list of images."""
    manifest = bare.manifest
    settings = manifest.model_dump(
        mode="json", exclude={"schema_version", "files"}, exclude_none=True
    )
    files: dict[str, bytes | Path] = {name: bare.folder / name for name in manifest.files}
    files[name] = json.dumps(content).encode()
    files["ranges.json"] = b"{}"
    return write_bundle(out, {**settings, **more}, files)


def seen_list(kind: str, digest: str) -> tuple[str, dict[str, Any], dict[str, Any]]:
    if kind == "training":
        return "t.json", {"images": [digest]}, {"training": {"images": "t.json"}}
    empty: dict[str, Any] = {"schema": 1, "kind": "frames", "items": [], "held_back": []}
    line = [{"image": digest, "slide": "seen"}]
    settings = {"calibration": {"ranges": "ranges.json", "images": "c.json"}}
    return "c.json", {**empty, kind: line}, settings


@pytest.mark.parametrize("kind", ["training", "items", "detector_frames", "held_back", "looked_at"])
def test_slides_that_the_bundle_has_seen_prove_nothing(
    kind: str, bare: Bundle, tmp_path: Path
) -> None:
    slides, labels = write_evidence(tmp_path, positives=9, others=1)
    digest = sha256_file(slides / "s003" / "0.png")
    # Under another name it is the same image.
    (slides / "s003" / "0.png").rename(slides / "s003" / "other.png")
    name, content, settings = seen_list(kind, digest)
    known = with_list(bare, tmp_path / "known", name, content, **settings)
    asked = request(known, slides, labels, tmp_path / "out")
    what = "training" if kind == "training" else "calibration"
    assert f"s003 ({what})" in refusal(asked, UsageError)
    # Left out, it is one patient too few.
    text = refusal(replace(asked, leave_out_seen=True), InputError)
    assert "8 with the label APL" in text


@pytest.mark.parametrize("changed", ["rule", "limit", "bound"])
def test_a_certificate_holds_for_the_rule_and_limit_it_was_given_for(
    changed: str, certified: Bundle, tmp_path: Path
) -> None:
    content = certified.manifest.model_dump(mode="json", exclude_none=True)
    if changed == "rule":
        content["rule"]["min_scored"] = 3
    elif changed == "limit":
        content["certificate"]["clear_below"] = 0.51
    else:
        content["certificate"]["alpha"] = 0.05
    for name in certified.manifest.files:
        (tmp_path / name).write_bytes(certified.read(name))
    text = tomli_w.dumps(content).encode()
    (tmp_path / MANIFEST).write_bytes(text)
    (tmp_path / SEAL).write_text(f"{sha256(text)}  {MANIFEST}\n")
    with pytest.raises(BundleError, match="certificate"):
        open_bundle(tmp_path)


def narrowed(model: Model, clear_below: float) -> Model:
    certificate = model.clearing.certificate
    assert certificate is not None
    held = replace(certificate, clear_below=clear_below)
    return replace(model, clearing=replace(model.clearing, certificate=held))


def test_nothing_is_cleared_at_or_above_the_proven_limit(
    certified: Bundle, journal: Journal, tmp_path: Path
) -> None:
    write_slide(tmp_path / "slide", 501)
    with open_model(certified.folder) as model:
        (before,) = scored(model, tmp_path / "slide", journal, tmp_path / "a")
        highest = before["interval"][1]
        assert before["verdict"] == "CLEAR"
        (at,) = scored(narrowed(model, highest), tmp_path / "slide", journal, tmp_path / "b")
        above = narrowed(model, highest + 1e-6)
        (below,) = scored(above, tmp_path / "slide", journal, tmp_path / "c")
    assert (at["verdict"], below["verdict"]) == ("REVIEW", "CLEAR")
    assert "above_certificate" in codes(at)
    assert at["limits"]["clear_below"] == highest


def test_a_slide_unlike_those_of_the_certificate_is_not_cleared(
    certified: Bundle, journal: Journal, tmp_path: Path
) -> None:
    folder = tmp_path / "green"
    folder.mkdir()
    pixels = field(7).astype(int)
    pixels[..., 1] = pixels[..., 1] * 9 // 10
    (folder / "0.png").write_bytes(png(pixels.astype("uint8")))
    with open_model(certified.folder) as model:
        (record,) = scored(model, folder, journal, tmp_path / "out")
    assert record["verdict"] == "REVIEW"
    assert "certificate_look" in codes(record)


def test_engines_in_fewer_bits_clear_nothing_without_their_own_trial(
    certified: Bundle, journal: Journal, tmp_path: Path
) -> None:
    write_slide(tmp_path / "slide", 502)
    with open_model(certified.folder) as model:
        other = replace(model, clearing=replace(model.clearing, without="these engines were not"))
        (record,) = scored(other, tmp_path / "slide", journal, tmp_path / "out")
    assert record["verdict"] == "REVIEW"
    assert "certificate_engines" in codes(record)


def test_a_person_who_overrules_a_clear_ends_the_certificate_here(
    certified: Bundle, journal: Journal, tmp_path: Path
) -> None:
    first = score_one(certified, journal, tmp_path, 503)
    assert first["verdict"] == "CLEAR"
    standing = CertificateStatus(journal.path, clearing_of(certified).certificate)
    assert not standing.ended()
    record = find_record(journal.path, first["journal_record"])
    append_sign_off(journal, record, SignOff(Opinion.OVERRULE, "AB", "blasts", "APL"))
    second = score_one(certified, journal, tmp_path, 504)
    assert second["verdict"] == "REVIEW"
    (why,) = [one["text"] for one in second["reasons"] if one["code"] == "certificate_ended"]
    assert f"overruled the CLEAR of record {record.row.sequence}" in why
    assert "run edgeapl calibrate with --labels again" in why
    assert standing.ended() == why
    # The last word counts.
    append_sign_off(journal, record, SignOff(Opinion.CONFIRM, "AB"))
    assert not standing.ended()
    assert score_one(certified, journal, tmp_path, 505)["verdict"] == "CLEAR"


def test_slides_that_drift_end_the_certificate_here(
    certified: Bundle, journal: Journal, tmp_path: Path
) -> None:
    write_slide(tmp_path / "slide", 506)
    certificate = clearing_of(certified).certificate
    standing = CertificateStatus(journal.path, certificate)
    with open_model(certified.folder) as model:
        scored(model, tmp_path / "slide", journal, tmp_path / "out")
    unlike = replace(make_verdict(1), certificate=certificate)
    reason = unlike.reasons[0]
    for number in range(24):
        odd = number in (2, 5, 8)
        said = (replace(reason, code="domain_stain" if odd else "uncertain"),)
        journal.commit(replace(unlike, slide=f"n{number}", reasons=said))
    assert not standing.ended()  # 3 of 20 may be so by chance
    for number in range(4):  # what is left of a damaged slide looks otherwise
        codes = ("area_not_examined", "domain_stain", "certificate_look")
        seen = tuple(replace(reason, code=code) for code in codes)
        journal.commit(replace(unlike, slide=f"d{number}", reasons=seen))
    assert not standing.ended()
    for number in range(4):
        said = (replace(reason, code="certificate_look"),)
        journal.commit(replace(unlike, slide=f"m{number}", reasons=said))
    assert "4 of 20 slides" in standing.ended()
    for number in range(30):
        said = (replace(reason, code="uncertain"),)
        journal.commit(replace(unlike, slide=f"o{number}", reasons=said))
    assert "4 of 20 slides" in standing.ended()  # an end is an end


def test_real_slides_do_not_end_a_certificate_of_drawn_ones(
    certified: Bundle, journal: Journal
) -> None:
    """All of them are unlike drawn ones, and each is held back for that."""
    certificate = clearing_of(certified).certificate
    assert certificate is not None
    drawn = replace(certificate, drawn=True)
    unlike = replace(make_verdict(1), certificate=drawn)
    said = (replace(unlike.reasons[0], code="domain_stain"),)
    for number in range(20):
        journal.commit(replace(unlike, slide=f"r{number}", reasons=said))
    assert not CertificateStatus(journal.path, drawn).ended()


def test_suspicious_slides_are_flagged_with_and_without_a_certificate(
    bare: Bundle, certified: Bundle, journal: Journal, tmp_path: Path
) -> None:
    write_slide(tmp_path / "slide", 507, SUSPICIOUS)
    for number, bundle in enumerate((bare, certified)):
        with open_model(bundle.folder) as model:
            (record,) = scored(model, tmp_path / "slide", journal, tmp_path / f"out{number}")
        assert record["verdict"] == "FLAG"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not understood"),
        ("{}", "not understood"),
        ('{"images": []}', "is empty"),
        ('{"images": ["a.png"]}', "not named by its SHA-256"),
    ],
)
def test_a_list_of_training_images_is_read_or_refused(
    text: str, words: str, tmp_path: Path
) -> None:
    path = tmp_path / "list.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=words):
        training_set(path)


def test_training_images_are_known_by_their_content(tmp_path: Path) -> None:
    write_slide(tmp_path / "images" / "a", 1)
    digest = sha256_file(tmp_path / "images" / "a" / "0.png")
    made = training_set(tmp_path / "images")
    assert json.loads(made)["images"] == [digest]
    (tmp_path / "list.json").write_bytes(made)
    assert training_set(tmp_path / "list.json") == made


def test_the_demonstration_says_that_its_evidence_is_drawn() -> None:
    bundle = open_bundle(EMBEDDED)
    certificate = clearing_of(bundle).certificate
    assert certificate is not None
    assert certificate.drawn
    assert "proves nothing about real slides" in summarise_certificate(certificate)
    evidence = json.loads(bundle.read("certificate.json"))
    assert evidence["patients"] >= 59
    assert not evidence["verdicts"]["APL"].get("CLEAR", 0)
    assert evidence["verdicts"]["HEALTHY"]["CLEAR"] >= 10


def test_a_patient_counts_as_cleared_when_one_slide_is() -> None:
    def slide(patient: str, below: float) -> Examined:
        labelled = Labelled(SlideInput(f"{patient}{below}", ()), "APL", patient, {})
        return Examined(labelled, Decision.REVIEW, below, None, 50)

    never = float("inf")
    found = by_patient([slide("a", never), slide("a", 0.2), slide("a", 0.3), slide("b", never)])
    assert found == {"a": 0.2, "b": never}
