"""The grasp planners there are, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from sam_perception.errors import InvalidInputError
from sam_perception.frames import RgbdFrame
from sam_perception.geometry.objects import ObjectGeometry
from sam_perception.grasping.candidates import GraspPlan
from sam_perception.grasping.gripper import Gripper
from sam_perception.grasping.scene import GraspScene, grasp_scene

DEFAULT_PLANNER = "antipodal"


class GraspPlanner(Protocol):
    """Finds grasps of one object; the same scene and gripper give the same plan."""

    name: str

    def plan(self, scene: GraspScene, gripper: Gripper, max_candidates: int) -> GraspPlan:
        """At most ``max_candidates`` grasps, best first; when there is none, the plan's reasons say why."""


def _antipodal() -> GraspPlanner:
    from sam_perception.grasping.antipodal import AntipodalPlanner

    return AntipodalPlanner()


def _top_down() -> GraspPlanner:
    from sam_perception.grasping.top_down import TopDownPlanner

    return TopDownPlanner()


def _centroid() -> GraspPlanner:
    from sam_perception.grasping.top_down import CentroidPlanner

    return CentroidPlanner()


# A planner is made when it is asked for, so that one that needs a library or weights costs the others nothing.
PLANNERS: Mapping[str, Callable[[], GraspPlanner]] = {
    "antipodal": _antipodal,
    "top_down": _top_down,
    "centroid": _centroid,
}


def make_planner(name: str) -> GraspPlanner:
    """The planner of a name.

    Raises:
        InvalidInputError: an unknown name.
    """
    if name not in PLANNERS:
        raise InvalidInputError.for_field("planner", f"one of {', '.join(PLANNERS)}", repr(name))
    return PLANNERS[name]()


def plan_grasps(
    frame: RgbdFrame,
    geometry: ObjectGeometry,
    gripper: Gripper,
    planner: str = DEFAULT_PLANNER,
    max_candidates: int = 20,
    device: str = "cpu",
) -> GraspPlan:
    """Grasps of a measured object.

    Args:
        frame: that the object was measured in.
        geometry: of the object, from ``measure_object``.
        gripper: that is to grasp it.
        planner: one of ``PLANNERS``.
        max_candidates: at most so many.
        device: where the batch work is done, see ``GraspScene``.

    Raises:
        InvalidInputError: an unknown planner, a frame without intrinsics.
        ModelUnavailableError: a device that is not there.
    """
    return make_planner(planner).plan(grasp_scene(frame, geometry, device), gripper, max_candidates)
