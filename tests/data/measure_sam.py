"""Export Segment Anything at full size with random weights and run it on a CPU: sizes and times.

    python -m tests.data.measure_sam [--size sam-vit-b] [--threads 2]

Needs the extra ``export``. Each size, and exporting and running, is a process of its own, so that
memory is told apart; ViT-L takes about 9 GB to export.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from edgeapl.bundle.specs import SamSpec
from edgeapl.engines.registry import open_engine
from edgeapl.export.exporter import network_bytes
from edgeapl.export.recipes.recipe import Recipe
from edgeapl.export.recipes.segment_anything import SIZES, other_segmenter
from edgeapl.export.weights import Weights
from edgeapl.stages.sam.networks import answers, embedded
from edgeapl.stages.sam.prompts import of_grid

RUNS = 3


def export(size: str, folder: Path) -> None:
    """Write both networks."""
    networks = other_segmenter(size).networks
    weights = Weights(Recipe(size, "", networks, {}, {}, card=""), {}, seed=0)
    for network in networks:
        start = time.perf_counter()
        data = network_bytes(weights, network, explain=False)
        took = time.perf_counter() - start
        (folder / network.file).write_bytes(data)
        print(f"{size} {network.name}: {len(data) / 1e6:.1f} MB, exported in {took:.0f} s")
    print(f"{size} export: {_peak_gb():.1f} GB at most")


def run(size: str, folder: Path, threads: int) -> None:
    """Run the encoder on a frame and the decoder on two batches."""
    names = "sam_encoder", "sam_decoder"
    encoder, decoder = (
        open_engine("onnxruntime", name, (folder / f"{name}.onnx").read_bytes(), threads=threads)
        for name in names
    )
    spec = SamSpec(encoder=names[0], decoder=names[1], side=1024)
    frame = np.random.default_rng(1).integers(0, 255, (1536, 2048, 3)).astype(np.uint8)
    encoding, decoding = [], []
    for _ in range(RUNS):
        start = time.process_time()
        embedding, scale = embedded(frame, encoder, spec)
        encoding.append(time.process_time() - start)
        height, width = frame.shape[:2]
        prompts = of_grid(4, height, width, scale)
        start = time.process_time()
        assert len(list(answers(prompts, embedding, decoder, spec))) == 2
        decoding.append(time.process_time() - start)
    print(
        f"{size}, processor time on {threads} threads: encoder {min(encoding):.1f} s a frame, "
        f"decoder {min(decoding) / len(prompts):.3f} s a prompt; {_peak_gb():.1f} GB at most"
    )


def _peak_gb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main() -> None:
    """Measure each size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--size", action="append", choices=[name for name in SIZES if name != "sam"]
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", choices=("export", "run"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    for size in given.size or [name for name in SIZES if name != "sam"]:
        if given.only == "export":
            export(size, given.folder)
        elif given.only == "run":
            run(size, given.folder, given.threads)
        else:
            with tempfile.TemporaryDirectory() as folder:
                for step in ("export", "run"):
                    own = ["--size", size, "--only", step, "--folder", folder]
                    threads = ["--threads", str(given.threads)]
                    command = [sys.executable, "-m", "tests.data.measure_sam", *own, *threads]
                    subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
