"""Which cameras are plugged in: finding one by its serial number."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sam_perception.realsense.errors import CameraError, no_permission

_USB = Path("/sys/bus/usb/devices")


@dataclasses.dataclass(frozen=True)
class DeviceInfo:
    """What a device says of itself; empty where it does not say.

    Attributes:
        name: such as Intel RealSense D435I.
        serial: its serial number.
        firmware: its version.
        usb: version of the connection, such as 3.2.
    """

    name: str
    serial: str
    firmware: str = ""
    usb: str = ""

    def __str__(self) -> str:
        return f"{self.serial or 'without serial number'} ({self.name or 'unnamed'})"

    @property
    def is_on_usb2(self) -> bool:
        """Whether the connection is slower than the camera."""
        return self.usb.startswith("2")


def device_info(rs: Any, device: Any) -> DeviceInfo:
    """What the device says of itself."""

    def say(key: Any) -> str:
        try:
            return str(device.get_info(key)) if device.supports(key) else ""
        except RuntimeError:  # it has gone meanwhile, or is not ours to open
            return ""

    keys = rs.camera_info
    return DeviceInfo(
        say(keys.name), say(keys.serial_number), say(keys.firmware_version), say(keys.usb_type_descriptor)
    )


def find_device(rs: Any, devices: Sequence[Any], serial: str) -> tuple[Any, list[DeviceInfo]]:
    """The device of a serial number, or the first when that is empty; and the others.

    Raises:
        CameraError: it is not there; the message lists those that are.
    """
    found = [(device, device_info(rs, device)) for device in devices]
    for i, (device, info) in enumerate(found):
        if serial in ("", info.serial):
            return device, [other for j, (_, other) in enumerate(found) if j != i]
    if found:
        there = ", ".join(str(info) for _, info in found)
        raise CameraError(
            f"no RealSense with serial number {serial} is plugged in, only {there}; set serial_number to one of them"
        )
    raise CameraError(_none_found(serial))


def _none_found(serial: str) -> str:
    wanted = f" with serial number {serial}" if serial else ""
    on_usb = _realsense_on_usb()
    if on_usb:
        return f"no RealSense{wanted} can be opened, though {', '.join(on_usb)} is on USB: {no_permission()}"
    return f"no RealSense{wanted} was found: plug it into a USB 3 port with its own cable"


def _realsense_on_usb() -> list[str]:
    """Names of the RealSense cameras that the kernel sees, whether or not this user may open them."""
    names = []
    for product in sorted(_USB.glob("*/product")):
        try:
            name = product.read_text(errors="replace").strip()
        except OSError:
            continue
        if "RealSense" in name:
            names.append(name)
    return names
