"""The objects of an answer measured in space and the grasps planned on them, each once however many ask."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from sam_perception.frames import RgbdFrame
from sam_perception.geometry.cleaning import CloudCleaning
from sam_perception.geometry.objects import ObjectGeometry, measure_object
from sam_perception.grasping.candidates import GraspPlan
from sam_perception.grasping.gripper import Gripper, load_gripper
from sam_perception.grasping.planners import GraspPlanner, make_planner
from sam_perception.grasping.scene import grasp_scene
from sam_perception.masks import Mask


class MeasuredObjects:
    """Objects of one frame.

    Args:
        frame: with depth and intrinsics.
        masks: of the objects.
        cleaning: of their clouds.
    """

    def __init__(self, frame: RgbdFrame, masks: Sequence[Mask], cleaning: CloudCleaning) -> None:
        self.frame = frame
        self.geometries: list[ObjectGeometry] = [
            measure_object(frame, mask, [other for other in masks if other is not mask], cleaning=cleaning)
            for mask in masks
        ]
        self._plans: dict[tuple[int, Gripper, int, int], GraspPlan] = {}
        self._lock = threading.Lock()

    def plan(self, number: int, planner: GraspPlanner, gripper: Gripper, max_candidates: int) -> GraspPlan:
        """Grasps of the object of this number in ``geometries``.

        Args:
            number: see above.
            planner: one object for all calls; another one plans anew.
            gripper: that is to grasp it.
            max_candidates: at most so many.
        """
        geometry = self.geometries[number]
        if geometry.box is None:
            return GraspPlan((), geometry.reasons)
        with self._lock:
            key = (number, gripper, id(planner), max_candidates)
            if key not in self._plans:
                self._plans[key] = planner.plan(grasp_scene(self.frame, geometry), gripper, max_candidates)
            return self._plans[key]


class LatestObjects:
    """What became of the last answer that was looked at; whoever asks about the same one gets it again.

    Attributes:
        newest: the last sam_perception/ObjectMaskArray that came; None: none did.
    """

    def __init__(self) -> None:
        self.newest: Any = None
        self._lock = threading.Lock()
        self._frame: tuple[Any, RgbdFrame] | None = None
        self._measured: tuple[Any, CloudCleaning, MeasuredObjects] | None = None

    def hold_frame(self, message: Any, frame: RgbdFrame) -> None:
        """Keep the frame of an answer for longer than frames are held in general."""
        self._frame = message, frame

    def held_frame(self, message: Any) -> RgbdFrame | None:
        """The frame of an answer, if it is that of the last one."""
        held = self._frame
        return held[1] if held is not None and held[0] == message else None

    def measured(
        self, message: Any, cleaning: CloudCleaning, frame: RgbdFrame, masks: Callable[[], Sequence[Mask]]
    ) -> MeasuredObjects:
        """The objects of an answer; they are measured unless that was done in the same way just before."""
        with self._lock:
            known = self._measured
            if known is None or known[:2] != (message, cleaning):
                known = message, cleaning, MeasuredObjects(frame, masks(), cleaning)
                self._measured = known
            return known[2]

    def clear(self) -> None:
        """Forget all."""
        self.newest = self._frame = self._measured = None


class GraspSettings:
    """Grippers and planners by name, each loaded when it is first asked for and kept while the name stays."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._gripper: tuple[str, Gripper] | None = None
        self._planner: tuple[str, GraspPlanner] | None = None

    def gripper(self, name: str) -> Gripper:
        """See ``load_gripper``, which also says what it raises."""
        with self._lock:
            if self._gripper is None or self._gripper[0] != name:
                self._gripper = name, load_gripper(name)
            return self._gripper[1]

    def planner(self, name: str) -> GraspPlanner:
        """See ``make_planner``, which also says what it raises."""
        with self._lock:
            if self._planner is None or self._planner[0] != name:
                self._planner = name, make_planner(name)
            return self._planner[1]
