"""The C library Aravis, called through ctypes, as a virtual environment has no bindings for it.

Every function used is declared here with its types, as in the headers of Aravis 0.8.
"""

from __future__ import annotations

import ctypes
from ctypes import POINTER, byref, c_char_p, c_double, c_int, c_size_t, c_uint, c_uint64, c_void_p
from dataclasses import dataclass
from typing import Any

from edgeapl.errors import CameraError
from edgeapl.wording.printable import printable

LIBRARY = "libaravis-0.8.so.0"
PACKAGE = "libaravis-0.8-0"

SUCCESS = 0
"""ARV_BUFFER_STATUS_SUCCESS: the picture is complete."""

CONTINUOUS = 0
"""ARV_ACQUISITION_MODE_CONTINUOUS."""

NO_PACKET_SOCKET = 1
"""ARV_GV_STREAM_OPTION_PACKET_SOCKET_DISABLED: a raw socket needs rights that few users have."""

_SOCKET_BUFFER_AUTO = 1
"""ARV_GV_STREAM_SOCKET_BUFFER_AUTO: as large as a picture."""


class _GError(ctypes.Structure):
    _fields_ = (("domain", ctypes.c_uint32), ("code", c_int), ("message", c_char_p))


_Error = POINTER(_GError)
_ERROR = POINTER(_Error)

LOST = ctypes.CFUNCTYPE(None, c_void_p, c_void_p)
"""Called by Aravis, in its own thread, when a camera is lost."""

# name: (result, arguments); functions that end in _ERROR report failure through it.
_ARAVIS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "update_device_list": (None, ()),
    "get_n_devices": (c_uint, ()),
    "get_device_id": (c_char_p, (c_uint,)),
    "get_device_vendor": (c_char_p, (c_uint,)),
    "get_device_model": (c_char_p, (c_uint,)),
    "get_device_serial_nbr": (c_char_p, (c_uint,)),
    "get_device_address": (c_char_p, (c_uint,)),
    "get_device_protocol": (c_char_p, (c_uint,)),
    "camera_new": (c_void_p, (c_char_p, _ERROR)),
    "camera_get_device": (c_void_p, (c_void_p,)),
    "camera_get_device_serial_number": (c_char_p, (c_void_p, _ERROR)),
    "camera_get_vendor_name": (c_char_p, (c_void_p, _ERROR)),
    "camera_get_model_name": (c_char_p, (c_void_p, _ERROR)),
    "camera_is_gv_device": (c_int, (c_void_p,)),
    "gv_device_is_controller": (c_int, (c_void_p,)),
    "gv_device_take_control": (c_int, (c_void_p, _ERROR)),
    "camera_gv_set_packet_size": (None, (c_void_p, c_int, _ERROR)),
    "camera_gv_set_stream_options": (None, (c_void_p, c_int)),
    "camera_set_acquisition_mode": (None, (c_void_p, c_int, _ERROR)),
    "camera_set_pixel_format_from_string": (None, (c_void_p, c_char_p, _ERROR)),
    "camera_get_pixel_format_as_string": (c_char_p, (c_void_p, _ERROR)),
    "camera_dup_available_pixel_formats_as_strings": (
        POINTER(c_char_p),
        (c_void_p, POINTER(c_uint), _ERROR),
    ),
    "camera_set_exposure_time": (None, (c_void_p, c_double, _ERROR)),
    "camera_get_payload": (c_uint, (c_void_p, _ERROR)),
    "camera_create_stream": (c_void_p, (c_void_p, c_void_p, c_void_p, _ERROR)),
    "camera_start_acquisition": (None, (c_void_p, _ERROR)),
    "camera_stop_acquisition": (None, (c_void_p, _ERROR)),
    "stream_push_buffer": (None, (c_void_p, c_void_p)),
    "stream_timeout_pop_buffer": (c_void_p, (c_void_p, c_uint64)),
    "stream_try_pop_buffer": (c_void_p, (c_void_p,)),
    "buffer_new_allocate": (c_void_p, (c_size_t,)),
    "buffer_get_status": (c_int, (c_void_p,)),
    "buffer_get_frame_id": (c_uint64, (c_void_p,)),
    "buffer_get_system_timestamp": (c_uint64, (c_void_p,)),
    "buffer_get_image_width": (c_int, (c_void_p,)),
    "buffer_get_image_height": (c_int, (c_void_p,)),
    "buffer_get_image_pixel_format": (ctypes.c_uint32, (c_void_p,)),
    "buffer_get_image_data": (c_void_p, (c_void_p, POINTER(c_size_t))),
}


@dataclass(frozen=True, slots=True)
class AravisCamera:
    """A camera that Aravis found.

    id : Aravis's name for it, made of vendor, model and serial number.
    protocol : ``GigEVision`` or ``USB3Vision``.
    address : on the network, or the USB port.
    """

    id: str
    vendor: str
    model: str
    serial: str
    address: str
    protocol: str

    @property
    def names(self) -> tuple[str, ...]:
        """All names that identify it, including Aravis's shorter id of vendor and serial number."""
        return self.id, self.serial, self.address, f"{self.vendor}-{self.serial}"


class AravisError(Exception):
    """Aravis reported a failure; the text is its own."""


class Aravis:
    """The library. Raises CameraError when it is not installed."""

    def __init__(self) -> None:
        try:
            self._library = ctypes.CDLL(LIBRARY)
            self._glib = ctypes.CDLL("libglib-2.0.so.0")
            self._gobject = ctypes.CDLL("libgobject-2.0.so.0")
        except OSError as error:
            mend = f"apt install {PACKAGE}"
            raise CameraError("Aravis is not installed", LIBRARY, mend) from error
        for name, (result, arguments) in _ARAVIS.items():
            function = getattr(self._library, f"arv_{name}")
            function.restype, function.argtypes = result, arguments
        self._glib.g_error_free.restype, self._glib.g_error_free.argtypes = None, (_Error,)
        self._glib.g_free.restype, self._glib.g_free.argtypes = None, (c_void_p,)
        unref = self._gobject.g_object_unref
        unref.restype, unref.argtypes = None, (c_void_p,)
        put = self._gobject.g_object_set
        put.restype, put.argtypes = None, (c_void_p, c_char_p, c_int, c_char_p, c_int, c_void_p)
        connect = self._gobject.g_signal_connect_data
        connect.restype = ctypes.c_ulong
        connect.argtypes = (c_void_p, c_char_p, LOST, c_void_p, c_void_p, c_int)

    def call(self, name: str, *arguments: object) -> Any:
        """Call ``arv_NAME``. Raises AravisError when it reports a failure."""
        function = getattr(self._library, f"arv_{name}")
        if _ARAVIS[name][1][-1:] != (_ERROR,):
            return function(*arguments)
        error = _Error()
        result = function(*arguments, byref(error))
        if error:
            text = error.contents.message or b""
            self._glib.g_error_free(error)
            raise AravisError(" ".join(printable(text.decode(errors="replace")).split()))
        return result

    def text(self, name: str, *arguments: object) -> str:
        """Call a function that returns a text; empty if there is none."""
        return printable((self.call(name, *arguments) or b"").decode(errors="replace"))

    def pixel_formats(self, camera: int) -> list[str]:
        """Return the names of a camera's pixel formats."""
        count = c_uint()
        names = self.call("camera_dup_available_pixel_formats_as_strings", camera, byref(count))
        try:
            return [printable(names[at].decode(errors="replace")) for at in range(count.value)]
        finally:
            # The names belong to the camera, but we own the list.
            self._glib.g_free(names)

    def on_lost(self, camera: int, callback: Any) -> None:
        """Register a LOST function to call when the camera is lost; keep it alive until `unref`."""
        device = self.call("camera_get_device", camera)
        self._gobject.g_signal_connect_data(device, b"control-lost", callback, None, None, 0)

    def widen_socket(self, stream: int) -> None:
        """Let the kernel buffer a whole picture: its default drops packets even of a small one."""
        self._gobject.g_object_set(
            stream, b"socket-buffer", _SOCKET_BUFFER_AUTO, b"socket-buffer-size", 0, None
        )

    def unref(self, thing: int) -> None:
        """Release a camera, a stream or a buffer."""
        self._gobject.g_object_unref(thing)


def find_cameras(aravis: Aravis | None = None) -> list[AravisCamera]:
    """Search the network and the USB ports; takes about a second per network interface.

    Raises CameraError when Aravis is not installed.
    """
    aravis = aravis or Aravis()
    aravis.call("update_device_list")
    fields = ("id", "vendor", "model", "serial_nbr", "address", "protocol")
    return [
        AravisCamera(*(aravis.text(f"get_device_{field}", at) for field in fields))
        for at in range(aravis.call("get_n_devices"))
    ]
