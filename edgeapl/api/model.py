"""A model that examines slides: what `edgeapl.open_model` returns."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Literal, cast

from edgeapl import model, slide_findings
from edgeapl.api.collector import CellCollector
from edgeapl.api.images import Images, slide_images
from edgeapl.api.trust_policy import station_trust
from edgeapl.api.verdict import Verdict
from edgeapl.bundle.manifest import Manifest
from edgeapl.closable import ClosesItself
from edgeapl.errors import EdgeAplError, UsageError
from edgeapl.model import EMBEDDED, ModelRequest, origin_of
from edgeapl.model.fallback import open_with_fallback
from edgeapl.model.opener import open_resolved
from edgeapl.pipeline import Observer, SlideOptions, examine_slide
from edgeapl.report.context import report_context
from edgeapl.types import signer_text

EngineChoice = str | os.PathLike[str]


class Model(ClosesItself):
    """An open bundle that has passed its self-test; use it in a ``with`` block.

    Parameters
    ----------
    opened : the bundle. engines : which engines answer, as text.
    """

    def __init__(
        self, opened: model.Model, engines: str, refused: tuple[EdgeAplError, ...]
    ) -> None:
        self.opened = opened
        self.engines = engines
        self.refused = refused

    @property
    def manifest(self) -> Manifest:
        """The bundle's manifest: roles, rule, intended use."""
        return self.opened.bundle.manifest

    def examine(
        self,
        images: Images,
        *,
        slide: str | None = None,
        um_per_px: float | None = None,
        crops: bool = False,
        max_frames: int | None = None,
    ) -> Verdict:
        """Examine one slide and judge it. Nothing is written; `edgeapl.score` keeps a journal.

        Parameters
        ----------
        images : the folder of one slide, one file, a list of files, an array uint8 (H, W, 3) RGB or
            several, or a `FrameSource`, which stays open.
        slide : name in the verdict; None for that of the folder, file or source.
        um_per_px : µm per pixel of all images, 0.005 to 10; None to measure it from the cells. A
            source brings its own.
        crops : every image is one cell.
        max_frames : stop after so many frames; a live camera needs it.

        Raises
        ------
        UsageError
            This is no slide, or several slides.
        InputError
            Nothing is there. An image that cannot be used raises nothing: it is in `errors`, and
            the slide is not CLEAR.
        """
        manifest = self.manifest
        given = slide_images(
            images,
            slide=slide,
            um_per_px=um_per_px,
            assumed_um_per_px=manifest.um_per_px,
            crops=crops,
            leave_out=manifest.crop.leave_out,
        )
        if given.source.live and max_frames is None:
            raise UsageError("a camera never ends", given.name, "pass max_frames")
        if not given.own and um_per_px is not None:
            mend = "state the scale in the source"
            raise UsageError("um_per_px cannot be set for a source", given.name, mend)
        collector = CellCollector(report_context(manifest, crops=crops))
        options = SlideOptions(
            crops=crops, findings=slide_findings.of_left_out(given.left_out), max_frames=max_frames
        )
        try:
            outcome = examine_slide(
                self.opened, given.name, given.source, options, Observer(on_frame=collector.add)
            )
        finally:
            if given.own:
                given.source.close()
        origin = replace(origin_of(manifest, Path()), results="")
        answer = replace(outcome.verdict, origin=origin)
        return Verdict(answer, collector.cells(), outcome.errors)

    def close(self) -> None:
        """Release the networks."""
        self.opened.close()

    def __repr__(self) -> str:
        bundle = self.opened.bundle
        named = f"{self.manifest.name} {self.manifest.version} ({bundle.digest[:12]})"
        return f"<edgeapl.Model {named}, signed by: {signer_text(bundle.signer)}, {self.engines}>"


def open_model(
    bundle: str | os.PathLike[str] | None = None,
    *,
    engines: EngineChoice = "auto",
    threads: int = 1,
    workers: int | None = None,
    segmenter: str | None = None,
    station: str | os.PathLike[str] | None = None,
) -> Model:
    """Open a bundle and check its golden answers on this machine.

    Parameters
    ----------
    bundle : folder of the bundle; None for the embedded demonstration.
    engines : ``auto`` (the newest built ones that fit, else the bundle's own networks), ``none``,
        or a folder of engines.
    threads : CPU threads per run, 1 or more. workers : parallel runs; None for the fastest number.
    segmenter : finds cells in another way than the bundle's own, as ``score --segmenter`` does;
        then no slide is cleared.
    station : station file whose ``trusted_keys`` must have signed the bundle; None for no check.

    Raises
    ------
    BundleError
        The bundle is damaged, or not trusted.
    ConfigError
        The station file is wrong.
    EngineError
        A network is refused, or named engines do not fit.
    UsageError
        `threads` or `workers` is below 1, or the bundle has no such segmenter.
    """
    folder = EMBEDDED if bundle is None else Path(bundle)
    if engines in ("auto", "none"):
        wanted = cast("Path | Literal['auto', 'none']", engines)
    else:
        wanted = Path(engines)
    request = ModelRequest(
        folder,
        engines=wanted,
        threads=threads,
        workers=workers,
        pin_cores=True,
        segmenter=segmenter,
        trust=station_trust(station),
    )
    opened, resolved = open_with_fallback(request, open_resolved)
    return Model(opened, resolved.chosen.text, resolved.chosen.refused)
