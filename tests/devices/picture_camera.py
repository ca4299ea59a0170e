"""A Micro-Manager camera, written in Python, that plays picture files.

Loaded by `pictures.cfg` through `mm://.../pictures.cfg?python=1`. EDGEAPL_TEST_PICTURES names the
folder; its files of one size are shown in the order of their names, over and over.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pymmcore_plus.experimental.unicore import CameraDevice

from tests.devices.picture_folder import FOLDER


class PictureCamera(CameraDevice):  # type: ignore[misc]  # the package is an extra
    def __init__(self) -> None:
        super().__init__()
        self._pictures = read_pictures(Path(os.environ[FOLDER]))
        self._exposure_ms = 50.0

    def get_exposure(self) -> float:
        return self._exposure_ms

    def set_exposure(self, exposure: float) -> None:
        self._exposure_ms = exposure

    def get_camera_id(self) -> str:
        return "pictures"

    def shape(self) -> Any:
        return self._pictures[0].shape

    def dtype(self) -> Any:
        return np.uint8

    def start_sequence(
        self, n: int | None, get_buffer: Callable[[Sequence[int], Any], Any]
    ) -> Iterator[Mapping[str, Any]]:
        count = 0
        while n is None or count < n:
            time.sleep(self._exposure_ms / 1000)
            picture = self._pictures[count % len(self._pictures)]
            get_buffer(picture.shape, np.uint8)[:] = picture
            count += 1
            yield {}


def read_pictures(folder: Path) -> list[Any]:
    """Read the files of a folder that have the size of the first, RGB."""
    pictures: list[Any] = []
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in (".png", ".jpg", ".tif", ".tiff"):
            continue
        image = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
        assert image is not None, path
        if not pictures or image.shape == pictures[0].shape:
            pictures.append(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
    assert pictures, f"no pictures in {folder}"
    return pictures
