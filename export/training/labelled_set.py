"""Labelled images: whose they are, and what is known about slide and cell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from edgeapl.errors import InputError
from edgeapl.evaluation.evaluator import label_of_slide
from edgeapl.evaluation.labels import SlideLabel, read_slide_labels
from edgeapl.evaluation.results import SlideResult
from edgeapl.sources.discover import SlideInput, find_slides, split_left_out
from edgeapl.wording.names import canonical_name
from edgeapl.wording.printable import printable


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """One image file.

    slide, patient : whose it is; names in Unicode NFC.
    label : diagnosis of the slide; empty where only cells are labelled.
    cell_class : of the one cell in the image, as the cohort calls it; empty if unknown.
    """

    file: Path
    slide: str
    patient: str
    label: str = ""
    cell_class: str = ""


@dataclass(frozen=True, slots=True)
class LabelledSet:
    """Labelled images to train on.

    name : for messages and reports. left_out : what was not taken, in words, to how many.
    by_image : the patients are unknown, so that each image stands for itself.
    """

    name: str
    images: tuple[LabelledImage, ...]
    left_out: Mapping[str, int]
    by_image: bool = False


def read_labelled_set(
    slides: Path,
    labels: Path,
    *,
    crops: bool,
    leave_out: tuple[str, ...] = (),
) -> LabelledSet:
    """Read a folder of slides and the diagnoses of its slides or patients.

    Parameters
    ----------
    slides : a folder per slide, or with a list ``slides.csv``; see `find_slides`.
    labels : CSV with slide,label or patient,label or all three.
    crops : every image is one cell, and the folder that it lies in below the slide is its class.
    leave_out : such folders whose images the model is not made for.

    Slides without a label are left out and counted. Raises InputError when none has one, or a
    patient has two.
    """
    known = read_slide_labels(labels)
    images: list[LabelledImage] = []
    left_out: Counter[str] = Counter()
    for slide in find_slides(slides, crops=crops).slides:
        result = SlideResult(slide.name, "", None, slide.patient)
        label = label_of_slide(known, result)
        if label is None:
            left_out["slides without a label"] += 1
            continue
        files, out = split_left_out(slide.files, leave_out if crops else ())
        if out:
            left_out["images in folders that are left out"] += len(out)
        images += _images(slide, files, label, slides if crops else None)
    if not images:
        mend = f"labels are about: {', '.join(map(printable, sorted(known)[:3]))}"
        raise InputError("no slide has a label", printable(slides), mend)
    _check_patients(images)
    return LabelledSet(printable(slides.resolve().name), tuple(images), dict(left_out))


def _images(
    slide: SlideInput, files: tuple[Path, ...], label: SlideLabel, folder: Path | None
) -> Iterator[LabelledImage]:
    for file in files:
        inner = canonical_name(file.parent.name) if folder is not None else ""
        outside = inner == slide.name or file.parent == folder
        cell_class = "" if outside else inner
        yield LabelledImage(file, slide.name, label.patient, label.label, cell_class)


def _check_patients(images: list[LabelledImage]) -> None:
    labels: dict[str, str] = {}
    for image in images:
        other = labels.setdefault(image.patient, image.label)
        if other != image.label:
            which = f"{printable(image.patient)}: {printable(other)} and {printable(image.label)}"
            raise InputError("patient has two labels", which, "keep one")
