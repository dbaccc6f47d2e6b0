"""Exposure, gain, laser: the settings that a camera's sensors keep."""

from __future__ import annotations

import dataclasses
from typing import Any

UNCHANGED = -1
EMITTERS = ("unchanged", "none", "laser", "laser_auto", "led")


@dataclasses.dataclass(frozen=True)
class SensorSettings:
    """What to set; -1 and "unchanged" leave a value as the camera has it.

    Attributes:
        color_auto_exposure: whether the camera chooses exposure and gain of the colour image.
        color_exposure: else this, in the device's unit (D400: 100 microseconds).
        color_gain: else this.
        depth_auto_exposure: whether the camera chooses exposure and gain of the depth.
        depth_exposure: else this, in microseconds.
        depth_gain: else this.
        laser_power: of the projector, milliwatts.
        emitter: of EMITTERS.
    """

    color_auto_exposure: bool = True
    color_exposure: int = UNCHANGED
    color_gain: int = UNCHANGED
    depth_auto_exposure: bool = True
    depth_exposure: int = UNCHANGED
    depth_gain: int = UNCHANGED
    laser_power: int = UNCHANGED
    emitter: str = EMITTERS[0]


def apply_settings(rs: Any, color_sensor: Any, depth_sensor: Any, settings: SensorSettings) -> list[str]:
    """Set what the sensors have; returns what could not be set, each a sentence.

    Args:
        rs: pyrealsense2.
        color_sensor: rs.sensor that gives the colour images.
        depth_sensor: rs.sensor that gives the depth; the same one in a camera without a colour sensor of its own
            (D405), whose exposure the depth's settings decide.
        settings: see SensorSettings.
    """
    problems = _apply_depth(rs, depth_sensor, settings)
    if color_sensor.name != depth_sensor.name:
        exposure = ("color", settings.color_auto_exposure, settings.color_exposure, settings.color_gain)
        problems += _apply_exposure(rs, color_sensor, *exposure)
    elif (settings.color_exposure, settings.color_gain) != (UNCHANGED, UNCHANGED):
        problems.append("this camera takes colour and depth with one sensor: depth_exposure and depth_gain apply")
    return problems


def use_global_time(rs: Any, sensors: list[Any]) -> None:
    """Ask for stamps of the computer's clock, which librealsense derives from the camera's."""
    for sensor in sensors:
        if sensor.supports(rs.option.global_time_enabled):
            _set(sensor, rs.option.global_time_enabled, 1, "global time")


def _apply_depth(rs: Any, sensor: Any, settings: SensorSettings) -> list[str]:
    exposure = ("depth", settings.depth_auto_exposure, settings.depth_exposure, settings.depth_gain)
    problems = _apply_exposure(rs, sensor, *exposure)
    if settings.emitter != "unchanged":
        mode = EMITTERS.index(settings.emitter) - 1
        problems += _set(sensor, rs.option.emitter_enabled, mode, "emitter")
    if settings.laser_power != UNCHANGED:
        problems += _set(sensor, rs.option.laser_power, settings.laser_power, "laser_power")
    return problems


def _apply_exposure(rs: Any, sensor: Any, name: str, automatic: bool, exposure: int, gain: int) -> list[str]:
    problems: list[str] = []
    if sensor.supports(rs.option.enable_auto_exposure) or not automatic:
        problems += _set(sensor, rs.option.enable_auto_exposure, float(automatic), f"{name}_auto_exposure")
    if automatic:
        return problems
    if exposure != UNCHANGED:
        problems += _set(sensor, rs.option.exposure, exposure, f"{name}_exposure")
    if gain != UNCHANGED:
        problems += _set(sensor, rs.option.gain, gain, f"{name}_gain")
    return problems


def _set(sensor: Any, option: Any, value: float, name: str) -> list[str]:
    """Set one option to the nearest step; returns the sentence of what is wrong, if anything."""
    try:
        if not sensor.supports(option) or sensor.is_option_read_only(option):
            return [f"{name}: this camera cannot be set so; it stays as it is"]
        allowed = sensor.get_option_range(option)
        if not allowed.min <= value <= allowed.max:
            return [f"{name}: this camera takes {allowed.min:g} to {allowed.max:g}, not {value:g}; it stays as it is"]
        if allowed.step > 0:
            value = min(allowed.max, allowed.min + round((value - allowed.min) / allowed.step) * allowed.step)
        sensor.set_option(option, float(value))
    except RuntimeError as error:
        return [f"{name}: the camera refuses {value:g} ({' '.join(str(error).split())}); it stays as it is"]
    return []
