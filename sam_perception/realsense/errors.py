"""What goes wrong with a camera, as sentences that say what to do."""

from __future__ import annotations

from sam_perception.errors import PerceptionError

_UDEV = (
    "install librealsense's udev rules (99-realsense-libusb.rules from its repository's config folder into "
    "/etc/udev/rules.d), then plug the camera in again; in a container, pass /dev/bus/usb and /dev/video* through"
)
# What librealsense says, and what helps. The first that fits.
_ADVICE = (
    (("errno=16", "busy", "in use"), "another program uses the camera: close realsense-viewer, realsense-ros or ours"),
    (("errno=13", "permission", "access denied", "libusb_error_access"), f"no permission: {_UDEV}"),
    (
        ("errno=28", "no space left"),
        "the USB bus has no bandwidth left: use another port, or a smaller or slower image",
    ),
    (("disconnected", "no such device", "errno=19", "errno=5"), "is its cable plugged in, and is it a USB 3 cable?"),
)


class CameraError(PerceptionError, RuntimeError):
    """A camera is missing, busy, silent or gone; trying again later may help."""


def camera_error(doing: str, error: BaseException) -> CameraError:
    """What was tried, then librealsense's words, with advice where its words tell the cause."""
    said = " ".join(str(error).split())
    advice = next((advice for signs, advice in _ADVICE if any(sign in said.lower() for sign in signs)), "")
    return CameraError(f"{doing}: {said}" + (f"; {advice}" if advice else ""))


def no_permission() -> str:
    """What to do where a camera is on USB and librealsense does not see it."""
    return _UDEV
