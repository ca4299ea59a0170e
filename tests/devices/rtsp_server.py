"""A small RTSP camera, run by the system's own Python, which has GStreamer's bindings.

    /usr/bin/python3 rtsp_server.py [--port N] [--size 320x240] [--fps 15] [--user NAME:PASSWORD]
        [--colour 0xffRRGGBB] [--pictures 'FOLDER/%03d.png']

Prints `rtsp://127.0.0.1:PORT/camera` once it listens. The picture is a ball that moves, one colour,
or numbered picture files over and over.
"""

from __future__ import annotations

import argparse

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402


def pipeline(options: argparse.Namespace) -> str:
    width, height = options.size.split("x")
    if options.pictures:
        source = (
            f'multifilesrc location="{options.pictures}" loop=true '
            f"caps=image/png,framerate={options.fps}/1 ! pngdec"
        )
    elif options.colour:
        source = f"videotestsrc is-live=true pattern=solid-color foreground-color={options.colour}"
    else:
        source = "videotestsrc is-live=true pattern=ball"
    caps = f"video/x-raw,format=I420,width={width},height={height},framerate={options.fps}/1"
    return (
        f"( {source} ! videoconvert ! videoscale ! videorate ! {caps} ! "
        "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=5 quantizer=10 pass=quant ! "
        "rtph264pay name=pay0 pt=96 config-interval=1 )"
    )


def protect(server: GstRtspServer.RTSPServer, user: str, password: str) -> None:
    auth = GstRtspServer.RTSPAuth()
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "viewer")
    auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
    server.set_auth(auth)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", default="0")
    parser.add_argument("--size", default="320x240")
    parser.add_argument("--fps", type=int, default=15)
    parser.add_argument("--user", default="")
    parser.add_argument("--colour", default="")
    parser.add_argument("--pictures", default="")
    options = parser.parse_args()

    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(options.port)
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(pipeline(options))
    factory.set_shared(True)
    if options.user:
        user, _, password = options.user.partition(":")
        protect(server, user, password)
        roles = GstRtspServer.RTSPPermissions()
        roles.add_permission_for_role("viewer", "media.factory.access", True)
        roles.add_permission_for_role("viewer", "media.factory.construct", True)
        factory.set_permissions(roles)
    server.get_mount_points().add_factory("/camera", factory)
    server.attach(None)
    print(f"rtsp://127.0.0.1:{server.get_bound_port()}/camera", flush=True)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main()
