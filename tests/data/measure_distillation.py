"""Measure what a student and a cascade save, and what they change.

    python tests/data/measure_distillation.py DATA --out WORK

DATA has `pbc224`, single cells of eight kinds in folders. Two things are measured in one run:

Truth: the three networks of `eckardt2022`, trained here at a small size; promyelocytes stand for
themselves, other immature granulocytes for its myeloblasts, erythroblasts for its cells with Auer
rods. A student and a cascade are distilled from them on slides that are mixed of other cells, and
all three are compared, in INT8, on frames of 169 further cells. Slides are judged by the share of
suspicious cells, as the paper's ensemble needs diagnoses.

Time: a whole drawn frame of 2560 x 1920 px with 169 cells through the same networks at full size
(299 px) with random weights (one Xception, opened three times), INT8, two workers. The cascade
passes the share of cells on that the trained one did. Where other programs run meanwhile, the
processor's time divided by two cores tells more than the time on the clock.

Prints one JSON document, and the table of docs/measured.md.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from edgeapl.bundle.load import Bundle, open_bundle
from edgeapl.bundle.manifest import Manifest
from edgeapl.bundle.specs import CascadeSpec, NetworkSpec
from edgeapl.bundle.write import write_bundle
from edgeapl.calibration.builder.files import quantise_int8, write_network
from edgeapl.calibration.calibrator import CalibrateRequest, calibrate, gather_cells
from edgeapl.calibration.cell_collection import OVER, CollectionOptions
from edgeapl.calibration.disk_array import DiskArray
from edgeapl.calibration.inputs import NetworkInputs
from edgeapl.calibration.range_measurement import MeasurementOptions, measure
from edgeapl.calibration.validation.cells import CellComparison, compare_cells
from edgeapl.distillation.distiller import distil
from edgeapl.distillation.heads import heads_of
from edgeapl.distillation.proof import asked_of
from edgeapl.distillation.request import SETTINGS, DistillRequest
from edgeapl.distillation.student_bundle import NETWORK
from edgeapl.engines.registry import open_engine
from edgeapl.errors import EndOfSource
from edgeapl.export.architectures.student import Student
from edgeapl.export.exporter import ExportRequest, export, network_bytes
from edgeapl.export.recipes.constants import SUSPICIOUS_SHARE, rule
from edgeapl.export.recipes.eckardt2022 import ROLES, recipe
from edgeapl.export.recipes.recipe import Images, Recipe
from edgeapl.export.student_file import INPUT, student_bytes
from edgeapl.export.training.device import choose_device
from edgeapl.export.training.loop import Epoch
from edgeapl.export.weights import Weights
from edgeapl.inference import InferenceResult, classify
from edgeapl.inference.slide_answer import answer_slide
from edgeapl.model.assembled import Model, assemble
from edgeapl.pipeline import Observer, SlideOptions, examine_slide
from edgeapl.protocols import Engine
from edgeapl.sources.demo import DemoSource
from edgeapl.sources.discover import find_slides
from edgeapl.stages.cascade import Cascade, student_output
from edgeapl.testing import ScriptedSource
from edgeapl.types import CellScores, Frame

KINDS = (
    *("basophil", "eosinophil", "erythroblast", "lymphocyte", "metamyelocyte", "monocyte"),
    *("myelocyte", "neutrophil_band", "neutrophil_segmented", "promyelocyte"),
)
STANDS_FOR = {
    "myeloblast": "myelocyte,metamyelocyte",
    "promyelocyte": "promyelocyte",
    "auer_rod": "erythroblast",
}
CELLS = 169
TARGET = "openvino"
FRAME = f"demo://apl?width=2560&height=1920&um_per_px=0.125&cells={CELLS}&frames=1"


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


class Told:
    def stepped(self, epoch: int, step: int, steps: int) -> None:
        pass

    def ended(self, number: int, epoch: Epoch) -> None:
        say(f"epoch {number}: loss {epoch.loss:.4f}, held back {epoch.watched_loss}")


def lay_out(data: Path, work: Path, options: argparse.Namespace) -> None:
    """Link cells into a set to train on, slides to distil on, and frames to compare on."""
    draw = random.Random(1)
    left = {kind: sorted((data / "pbc224" / kind).glob("*.jpg")) for kind in KINDS}
    for files in left.values():
        draw.shuffle(files)

    def link(kind: str, folder: Path) -> None:
        file = left[kind].pop()
        folder.mkdir(parents=True, exist_ok=True)
        (folder / file.name).symlink_to(file.resolve())

    for kind in KINDS:
        for _ in range(options.teach):
            link(kind, work / "teach" / kind)

    def mixed(folder: Path, cells: int, share: float) -> None:
        others = [kind for kind in KINDS if kind not in ("promyelocyte", "erythroblast")]
        for place in range(cells):
            suspicious = place < share * cells
            sought = ("promyelocyte", "erythroblast")[place % 2]
            kind = sought if suspicious else others[place % len(others)]
            link(kind if left[kind] else max(left, key=lambda one: len(left[one])), folder)

    for number in range(options.slides):
        share = 0.4 * number / (options.slides - 1)
        mixed(work / "slides" / f"slide-{number:02d}", options.cells, share)
    for number in range(options.frames):
        share = 0.4 * number / max(1, options.frames - 1)
        mixed(work / "frames" / f"frame-{number}", CELLS, share)


def train(work: Path, options: argparse.Namespace) -> None:
    """Train each network in a process of its own, with one thread: none waits for another."""
    running = []
    for name, folders in STANDS_FOR.items():
        words = ["train", "eckardt2022", "--slides", str(work / "teach"), "--crops"]
        words += ["--size", str(options.size), "--epochs", str(options.epochs), "--part", name]
        words += ["--cells", f"{name}={folders}", "--threads", "1", "--out", str(work / "trained")]
        say("edgeapl " + " ".join(words))
        command = [sys.executable, "-m", "edgeapl", *words]
        running.append(subprocess.Popen(command, stdout=sys.stderr))
    codes = [one.wait() for one in running]
    if any(codes):
        raise SystemExit("a network could not be trained")


def small_recipe(side: int) -> Recipe:
    """Return the recipe of the three networks at a small size, judged by a vote."""
    whole = recipe("hsv-watershed")
    networks = []
    for network in whole.networks:
        if network.name in ROLES:
            assert isinstance(network.input, Images)
            given = replace(network.input, height=side, width=side)
            networks.append(replace(network, input=given))
    settings = {
        **whole.settings,
        "crop": {**whole.settings["crop"], "size_px": side, "cell_image_cut": "square"},
        "reducer": {"kind": "vote"},
        "rule": rule(flag_at=SUSPICIOUS_SHARE, clear_below=SUSPICIOUS_SHARE),
        # Both are to be measured, however far apart they are.
        "limits": dict.fromkeys(("max_flip_rate", "max_recall_drop", "max_verdict_changes"), 1.0),
    }
    return replace(whole, networks=tuple(networks), settings=settings)


def int8_engines(bundle: Bundle, folder: Path, workers: int = 2) -> dict[str, Engine]:
    folder.mkdir(parents=True, exist_ok=True)
    found = {}
    for name in bundle.manifest.networks:
        file = write_network(bundle, name, TARGET, "int8", frozenset(), folder)
        found[name] = open_engine(TARGET, name, file.read(), threads=1, workers=workers)
    return found


def compared(
    parent: Bundle, made: Bundle, folder: Path, frames: list[tuple[str, Any, InferenceResult]]
) -> tuple[CellComparison, list[tuple[str, str]], float]:
    """Run a bundle in INT8 on frames; returns also verdicts, and the share of cells passed on."""
    asked = asked_of(made.manifest, parent.manifest)
    engines = int8_engines(made, folder)
    rows = 0
    behind = engines.get(ROLES[0])
    run = None if behind is None else behind.run

    def counted(inputs: Any) -> Any:
        nonlocal rows
        rows += len(next(iter(inputs.values())))
        assert run is not None
        return run(inputs)

    if behind is not None:
        engines[ROLES[0]] = _Wrapped(behind, counted)
    pairs, verdicts = [], []
    for _, crops, want in frames:
        have = classify(asked, engines, crops, 4).checked()
        pairs.append((want, have))
        one = answer_slide(parent.manifest, {}, want).decision
        verdicts.append((one, answer_slide(made.manifest, engines, have).decision))
    cells = sum(len(crops) for _, crops, _ in frames)
    for engine in engines.values():
        engine.close()
    return compare_cells(parent.manifest, pairs), verdicts, rows / cells


class _Wrapped:
    def __init__(self, engine: Engine, run: Any) -> None:
        self._engine, self.run = engine, run

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)


def truth(data: Path, work: Path, options: argparse.Namespace) -> dict[str, Any]:
    if not (work / "frames").exists():
        lay_out(data, work, options)
    train(work, options)
    weights = {role: work / "trained" / role / "weights.pt" for role in ROLES}
    if not (work / "parent").exists():
        export(small_recipe(options.size), ExportRequest(weights=weights), work / "bare", say)
        calibrate(
            CalibrateRequest(
                work / "bare",
                work / "slides",
                crops=True,
                um_per_px=0.1,
                threads=2,
                leave_out_unusable=True,
                out=work / "parent",
            ),
            lambda text, _: say(text),
        )
    parent = open_bundle(work / "parent")
    request = DistillRequest(
        work / "parent",
        work / "slides",
        work / "student",
        choose_device("cpu", "auto", 1),
        cascade=work / "cascade",
        error=options.error,
        crops=True,
        um_per_px=0.1,
        most_cells=options.slides * options.cells,
        side=options.size,
        settings=replace(SETTINGS, epochs=options.student_epochs, batch=32),
    )
    if not (work / "cascade").exists():
        distil(request, say, Told())
    student, cascade = open_bundle(work / "student"), open_bundle(work / "cascade")
    (work / "held").mkdir(exist_ok=True)
    (work / "held" / "crops.rows").unlink(missing_ok=True)
    slides = find_slides(work / "frames", crops=True).slides
    size = math.ceil(CELLS * len(slides) / OVER)
    how = CollectionOptions(True, 0.1, size, classes=True)
    gathered = gather_cells(parent, slides, how, work / "held", lambda text, _: say(text), 2)
    crops, answers = gathered.crops.mapped, gathered.answers
    frames = []
    for slide in slides:
        rows = np.array([r for r, cell in enumerate(gathered.cells) if cell.slide == slide.name])
        roles = {name: values[rows] for name, values in answers.items()}
        nothing = np.empty((len(rows), 0), np.float32)
        scores = CellScores(np.arange(len(rows), dtype=np.int64), roles, nothing)
        want = InferenceResult(scores, np.empty(0, np.int64))
        frames.append((slide.name, np.asarray(crops[rows]), want))
    found: dict[str, Any] = {"frames": len(frames), "cells": len(gathered.cells)}
    suspicious = [one for one in gathered.cells if one.suspicion]
    found["suspicious_by_parent"] = len(suspicious)
    for name, bundle in (("parent", parent), ("cascade", cascade), ("student", student)):
        say(f"compare {name} in INT8 with the parent in FP32")
        cells, verdicts, passed = compared(parent, bundle, work / f"int8-{name}", frames)
        found[name] = {
            "flipped": cells.flipped,
            "flip_rate": cells.flip_rate,
            "recall": {one.name: f"{one.kept} of {one.cells}" for one in cells.recalls},
            "verdicts": verdicts,
            "verdicts_changed": sum(one != other for one, other in verdicts),
            "passed_on": passed,
        }
    for name, bundle in (("cascade", cascade), ("student", student)):
        document = json.loads(bundle.read("distillation.json"))
        found[name]["proof"] = {
            key: document["proof"][key] for key in ("cells", "flipped", "verdicts_changed")
        }
        found[name]["spec"] = document["cascade"]
    return found


def int8_of(model: bytes, name: str, input_name: str, crops: Any, work: Path) -> bytes:
    """Measure a network's ranges on some cells, and quantise it."""
    rows = DiskArray(work / f"{name}-{time.monotonic_ns()}.rows")
    rows.append(crops)
    measuring = MeasurementOptions(grow=False, threads=2)
    ranges = measure(name, model, NetworkInputs(input_name, rows), measuring, lambda *_: None)
    return quantise_int8(model, TARGET, ranges.tensors, frozenset())


def frame_of(address: str) -> Frame:
    with DemoSource.from_address(address) as source:
        try:
            return source.read(60)
        except EndOfSource as error:
            raise SystemExit("no frame was drawn") from error


def timed(model: Model, frame: Frame) -> tuple[float, float, int]:
    """Return seconds on the clock, of the processor, and the number of cells of a frame."""
    source = ScriptedSource(iter([frame]))
    begun, used = time.perf_counter(), time.process_time()
    outcome = examine_slide(model, "frame", source, SlideOptions(), Observer())
    tally = outcome.verdict.tally
    return time.perf_counter() - begun, time.process_time() - used, tally.scored


def full_size(work: Path, passed_on: float, rounds: int) -> dict[str, Any]:
    whole = recipe("hsv-watershed")
    weights = Weights(whole, {}, seed=1)
    by_name = {network.name: network for network in whole.networks}
    say("export one Xception of 299 px with random weights, and the ensemble")
    xception = network_bytes(weights, by_name[ROLES[0]], explain=False)
    head = network_bytes(weights, by_name["head"], explain=False)
    networks = {
        **{role: {"file": f"{role}.onnx", "input": "cells"} for role in ROLES},
        "head": {"file": "head.onnx", "input": "ratios"},
    }
    roles = [{**role, "output": ROLES[0]} for role in whole.settings["roles"]]
    settings = {
        **whole.settings,
        "roles": roles,
        "name": "full-size",
        "version": "1.0",
        "trained": False,
        "model_card": "MODEL_CARD.md",
        "networks": networks,
        "golden": {
            "frame": "golden.png",
            "expected": "golden.npz",
            "um_per_px": 0.2,
            "tolerance": 0.05,
        },
    }
    names = [f"{role}.onnx" for role in ROLES]
    files: dict[str, bytes | Path] = {**dict.fromkeys(names, xception), "head.onnx": head}
    files |= {"MODEL_CARD.md": b"#", "golden.png": b"", "golden.npz": b""}
    parent = write_bundle(work / "full-size", settings, files)
    frame = frame_of(FRAME)
    crops = np.random.default_rng(1).integers(0, 255, (8, 299, 299, 3)).astype(np.uint8)
    say("ranges of the large network, and of a student")
    # The same three heads over random features: what they say does not matter for their time.
    student = Student(heads_of(parent.manifest), 299).eval()
    small = student_bytes(student, NETWORK, 299)
    eight = {
        ROLES[0]: int8_of(xception, ROLES[0], "cells", crops, work),
        NETWORK: int8_of(small, NETWORK, INPUT, crops, work),
    }
    manifest = parent.manifest
    behind = {**manifest.networks, NETWORK: NetworkSpec(file="student.onnx", input=INPUT)}
    spec = CascadeSpec(network=NETWORK, margin=0.0, error=0.005, cells=1000, otherwise=0)
    cascade = manifest.model_copy(update={"networks": behind, "cascade": spec})
    alone = manifest.model_copy(
        update={
            "networks": {name: behind[name] for name in ("head", NETWORK)},
            "roles": tuple(
                role.model_copy(
                    update={
                        "network": NETWORK,
                        "output": student_output(role.network, role.output),
                    }
                )
                for role in manifest.roles
            ),
        }
    )
    with ExitStack() as opened:
        engines: dict[str, Engine] = {}
        for name in (*ROLES, NETWORK):
            data = eight[NETWORK if name == NETWORK else ROLES[0]]
            engines[name] = open_engine(TARGET, name, data, threads=1, workers=2)
            opened.callback(engines[name].close)
        engines["head"] = open_engine("onnxruntime", "head", head, threads=1)
        opened.callback(engines["head"].close)
        models = {
            "parent": _model(parent, manifest, engines),
            "student": _model(parent, alone, engines),
        }
        margin = _margin(models["student"], manifest, frame, passed_on)
        sure = cascade.model_copy(update={"cascade": spec.model_copy(update={"margin": margin})})
        models["cascade"] = _model(parent, sure, engines)
        seconds: dict[str, list[tuple[float, float, int]]] = {name: [] for name in models}
        for number in range(rounds + 1):
            turns = list(models)[:: 1 if number % 2 else -1]
            for name in turns:
                seconds[name].append(timed(models[name], frame))
                say(f"round {number}: {name} {seconds[name][-1]}")
    return {
        name: {
            "seconds": median(one for one, _, _ in taken[1:]),
            "processor_seconds_per_core": median(one for _, one, _ in taken[1:]) / 2,
            "cells": taken[-1][2],
        }
        for name, taken in seconds.items()
    }


def _model(parent: Bundle, manifest: Manifest, engines: Mapping[str, Engine]) -> Model:
    bundle = replace(parent, manifest=manifest)
    own = {name: engines[name] for name in manifest.networks}
    return replace(assemble(bundle, own), batch_size=4, workers=2)


def _margin(model: Model, manifest: Manifest, frame: Frame, passed_on: float) -> float:
    """Return the margin with which this share of the frame's cells goes to the parent."""
    seen: list[Mapping[str, Any]] = []
    engine = model.engines[NETWORK]

    def kept(inputs: Any) -> Any:
        seen.append(engine.run(inputs))
        return seen[-1]

    noting = replace(model, engines={**model.engines, NETWORK: _Wrapped(engine, kept)})
    timed(noting, frame)
    spec = CascadeSpec(network=NETWORK, margin=0.0, error=0.005, cells=1, otherwise=0)
    cascade = Cascade(NETWORK, spec, Cascade.of(_with(manifest, spec)).decisions)  # type: ignore[union-attr]
    joined = {
        name: np.concatenate([one[name] for one in seen]) for name in cascade.decisions.outputs
    }
    margins = np.sort(cascade.decisions.margins(joined))
    return float(margins[min(len(margins) - 1, round(passed_on * len(margins)))])


def _with(manifest: Manifest, spec: CascadeSpec) -> Manifest:
    networks = {**manifest.networks, NETWORK: NetworkSpec(file="student.onnx", input=INPUT)}
    return manifest.model_copy(update={"networks": networks, "cascade": spec})


def table(found: Mapping[str, Any]) -> str:
    columns = [*("", "s on the clock", "processor s, of each of two cores")]
    columns += ["cells answered otherwise", "verdicts changed", "cells passed on"]
    lines = [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
    time_of, said = found["time"], found["truth"]
    for name in ("parent", "cascade", "student"):
        own, mine = time_of[name], said[name]
        passed = {"parent": "all", "student": "none"}.get(name, f"{100 * mine['passed_on']:.1f} %")
        lines.append(
            f"| {name} | {own['seconds']:.2f} | {own['processor_seconds_per_core']:.2f} | "
            f"{mine['flipped']} of {said['cells']} ({100 * mine['flip_rate']:.2f} %) | "
            f"{mine['verdicts_changed']} of {said['frames']} | {passed} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--teach", type=int, default=60, help="cells of each kind")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--slides", type=int, default=15)
    parser.add_argument("--cells", type=int, default=80, help="of each slide")
    parser.add_argument("--student-epochs", type=int, default=20)
    parser.add_argument("--frames", type=int, default=6)
    parser.add_argument("--error", type=float, default=0.005, help="of the cascade")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--passed-on", type=float, help="measure time alone, with this share")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    if options.passed_on is not None:
        print(json.dumps(full_size(options.out, options.passed_on, options.rounds), indent=1))
        return
    found = {"truth": truth(options.data, options.out, options)}
    passed_on = found["truth"]["cascade"]["passed_on"]
    found["time"] = full_size(options.out, passed_on, options.rounds)
    print(json.dumps(found, indent=1))
    print(table(found))


if __name__ == "__main__":
    main()
