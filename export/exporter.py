"""From checkpoints to a proven bundle."""

from __future__ import annotations

import json
import platform
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from edgeapl import __version__
from edgeapl.bundle.export_report import EXPORT_REPORT
from edgeapl.bundle.load import Bundle, open_bundle
from edgeapl.bundle.manifest import Manifest
from edgeapl.bundle.specs import SegmenterSpec
from edgeapl.bundle.write import write_bundle
from edgeapl.cores import cpu_cores
from edgeapl.engines.exclusive import ExclusiveEngines
from edgeapl.engines.registry import open_engine
from edgeapl.errors import ProofError, UsageError
from edgeapl.export import trained_on
from edgeapl.export.card import model_card
from edgeapl.export.colours import colour_doubts
from edgeapl.export.confusion import Confusion, confusion
from edgeapl.export.onnx_file import OPSET, onnx_bytes
from edgeapl.export.probabilities import check_made_once
from edgeapl.export.proof import Proof, proof_document, prove
from edgeapl.export.proof_images import ProofCells, ProofImages, proof_cells
from edgeapl.export.recipes.manifest import manifest_settings
from edgeapl.export.recipes.recipe import Images, NetworkRecipe, Recipe
from edgeapl.export.single_cells import check_single_cells
from edgeapl.export.target_colours import check_colours, moved_to
from edgeapl.export.torch_engine import TorchEngine
from edgeapl.export.user_code import code_error
from edgeapl.export.weights import Weights
from edgeapl.model.assembled import segmenter_by, segmenter_of
from edgeapl.model.isolation import call_isolated
from edgeapl.model.sealer import seal_bundle
from edgeapl.model.trial import limit_of
from edgeapl.protocols import Engine
from edgeapl.report.pictures import png_bytes
from edgeapl.sources.synthetic import draw_frame, slide_recipe

LIBRARIES = ("torch", "onnx", "onnxscript", "onnxslim", "onnxruntime", "numpy")

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """How to export.

    weights : role to checkpoint. seed : random weights instead; then the bundle is untrained.
    explain : include the outputs that explanation pictures need.
    trust_archive : allow ``.pt2`` files, which can run code when they are loaded.
    images : for the proof.
    trained_on : folder of the images that the weights were trained on, or a list of their digests;
        None if unknown.
    colours : images that cells are brought to the colours of; None for what the recipe says.
    views : that each cell is shown in; None for what the recipe says.
    """

    weights: Mapping[str, Path] = field(default_factory=dict)
    seed: int | None = None
    explain: bool = False
    trust_archive: bool = False
    images: ProofImages = field(default_factory=ProofImages)
    trained_on: Path | None = None
    colours: ProofImages | None = None
    views: Literal[1, 8] | None = None


@dataclass(frozen=True, slots=True)
class Exported:
    """A bundle that was written or checked, and the report on it."""

    bundle: Bundle
    report: Mapping[str, Any]


def export(recipe: Recipe, request: ExportRequest, out: Path, say: Say) -> Exported:
    """Export a recipe's networks, prove them and write the bundle.

    Parameters
    ----------
    recipe, request : what to export, and how. out : new folder, or a bundle that is replaced.
    say : called with each step, one line each.

    Nothing is written to `out` unless the proof passes. Raises ProofError when it does not,
    ConfigError when the recipe makes no probabilities of the networks' outputs, UsageError or
    BundleError when weights are missing or refused.
    """
    check_colours(recipe.name, recipe.settings["crop"], request.colours)
    weights = _weights(recipe, request)
    if out.exists() and not (out / "bundle.toml").is_file():
        raise UsageError("folder is not a bundle", out, "name a new folder with --out")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as folder:
        work = Path(folder)
        files: dict[str, bytes | Path] = {}
        for network in recipe.networks:
            say(f"export {network.name}")
            path = work / network.file
            path.write_bytes(network_bytes(weights, network, explain=request.explain))
            files[network.file] = path
        settings = manifest_settings(recipe, trained=weights.trained, explain=request.explain)
        files["MODEL_CARD.md"] = model_card(recipe, trained=weights.trained).encode()
        files.update(recipe.own_files)
        if request.trained_on is not None:
            settings["training"] = {"images": trained_on.FILE}
            files[trained_on.FILE] = trained_on.training_set(request.trained_on)
        if request.views is not None:
            settings["crop"] = {**settings["crop"], "views": request.views}
        if request.colours is not None:
            say("colours that cells are brought to")
            moved = _moved_to(recipe, request.colours, settings, files)
            settings["crop"] = {**settings["crop"], **moved}
        say("golden answers")
        bundle = _sealed(work / "bundle", settings, files)
        proof, cells, tables = _prove(recipe, request, weights, bundle, say)
        report = _report(recipe, request, weights, proof, cells, tables)
        if proof.problems:
            raise _refusal(proof, out)
        copied: dict[str, bytes | Path] = {
            name: bundle.folder / name for name in bundle.manifest.files
        }
        text = json.dumps(report, indent=1, sort_keys=True, allow_nan=False) + "\n"
        shutil.rmtree(out, ignore_errors=True)
        return Exported(
            write_bundle(out, settings, {**copied, EXPORT_REPORT: text.encode()}), report
        )


def check(recipe: Recipe, request: ExportRequest, folder: Path, say: Say) -> Exported:
    """Prove an existing bundle against its checkpoints.

    Raises ProofError when it fails, BundleError when the bundle is damaged or belongs to another
    recipe.
    """
    weights = _weights(recipe, request)
    bundle = open_bundle(folder)
    expected = {network.name for network in recipe.networks}
    if set(bundle.manifest.networks) != expected:
        raise UsageError(
            "bundle has other networks than the recipe",
            folder,
            f"expected {', '.join(sorted(expected))}",
        )
    proof, cells, tables = _prove(recipe, request, weights, bundle, say)
    if proof.problems:
        raise _refusal(proof, folder)
    return Exported(bundle, _report(recipe, request, weights, proof, cells, tables))


def _weights(recipe: Recipe, request: ExportRequest) -> Weights:
    return Weights(recipe, request.weights, seed=request.seed, trust_archive=request.trust_archive)


def network_bytes(weights: Weights, network: NetworkRecipe, *, explain: bool) -> bytes:
    """Return a network as an ONNX file.

    Raises CodeError when its module cannot be exported, or does not answer every cell independently
    and reproducibly.
    """
    graph = weights.graph(network, explain=explain)
    check_single_cells(graph, network, weights.recipe.tolerance)
    many = not isinstance(network.input, Images) or network.input.many
    names = graph.output_names
    try:
        shared = (network.shared.name, *graph.shared_example()) if network.shared else None
        return onnx_bytes(
            graph, graph.example(), network.input_name, names, batch=many, shared=shared
        )
    except Exception as error:  # the exporter runs the user's module, which may raise anything
        raise code_error("network cannot be exported", network.name, error) from error


def _sealed(folder: Path, settings: Mapping[str, Any], files: Mapping[str, bytes | Path]) -> Bundle:
    """Write the bundle in another process: exported networks may hang or crash their runtime."""
    golden = _golden_png()
    limit_s = 2 * limit_of(settings["segmenter"]["kind"], settings["crop"].get("views", 1))
    call_isolated(seal_bundle, folder, settings, files, golden, folder=folder, limit_s=limit_s)
    return open_bundle(folder)


def _moved_to(
    recipe: Recipe,
    images: ProofImages,
    settings: Mapping[str, Any],
    files: Mapping[str, bytes | Path],
) -> dict[str, Any]:
    """Measure the colours of images, their cells found as the bundle will find them."""
    finder = SegmenterSpec.model_validate(settings["segmenter"])
    by_name = {network.name: network for network in recipe.networks}

    def opener(name: str) -> Engine:
        data = files[by_name[name].file]
        assert isinstance(data, Path)
        return open_engine("onnxruntime", name, data.read_bytes(), threads=cpu_cores())

    with ExclusiveEngines(finder.networks, opener) as engines:
        return moved_to(
            images,
            segmenter_by(finder, engines),
            leave_out=settings["crop"].get("leave_out", ()),
            assumed_um_per_px=settings["um_per_px"],
        )


def _golden_png() -> bytes:
    """Draw the self-test's frame, with few cells as it runs whenever the bundle is opened."""
    recipe = slide_recipe("apl", 5, um_per_px=0.2, width=320, height=240, cells=3)
    return png_bytes(draw_frame(recipe, 0).pixels)


def _prove(
    recipe: Recipe, request: ExportRequest, weights: Weights, bundle: Bundle, say: Say
) -> tuple[Proof, ProofCells, tuple[Confusion, ...]]:
    manifest = bundle.manifest
    by_name = {network.name: network for network in recipe.networks}
    explain = _explains(recipe, manifest)
    for network in recipe.networks:
        check_made_once(bundle.read(network.file), network)

    def exported(name: str) -> Engine:
        data = bundle.read(by_name[name].file)
        return open_engine("onnxruntime", name, data, threads=cpu_cores())

    def reference(name: str) -> Engine:
        return TorchEngine(by_name[name], weights.reference(by_name[name], explain=explain))

    say("cells to prove the export on")
    with ExclusiveEngines(manifest.detector_networks, exported) as engines:
        cells = proof_cells(manifest, segmenter_of(manifest, engines), request.images)
    proof = prove(recipe, manifest, exported, reference, cells, say)
    tables = []
    for network in recipe.networks if cells.folders else ():
        engine = exported(network.name)
        table = confusion(network, engine, cells.crops, cells.folders)
        engine.close()
        if table is not None:
            tables.append(table)
    return proof, cells, tuple(tables)


def _explains(recipe: Recipe, manifest: Manifest) -> bool:
    """Return whether the bundle's networks have explanation outputs."""
    return manifest.explanation is not None and bool(recipe.explanation)


def _report(
    recipe: Recipe,
    request: ExportRequest,
    weights: Weights,
    proof: Proof,
    cells: ProofCells,
    tables: Sequence[Confusion],
) -> dict[str, Any]:
    return {
        "schema": 1,
        "research_use_only": True,
        "software": f"edgeapl {__version__}",
        "recipe": recipe.name,
        "source": recipe.source,
        "trained": weights.trained,
        "explain": request.explain,
        "opset": OPSET,
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in LIBRARIES},
        "weights": weights.used,
        "warnings": [
            *recipe.warnings,
            *colour_doubts(recipe),
            *proof.warnings,
            *(f"images of the proof: {doubt}" for doubt in cells.doubts),
            *(doubt for table in tables for doubt in table.doubts()),
        ],
        "confusion": [table.document() for table in tables],
        "images": cells.description(),
        "tolerance": recipe.tolerance,
        **proof_document(proof),
    }


def _refusal(proof: Proof, out: Path) -> ProofError:
    more = f" (and {len(proof.problems) - 3} more)" if len(proof.problems) > 3 else ""
    return ProofError(
        "exported networks do not answer like the checkpoint",
        out,
        "; ".join(proof.problems[:3]) + more,
    )
