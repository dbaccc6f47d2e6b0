"""The example for MoveIt Task Constructor builds the pick that it says, with stand-ins for what its bindings offer."""

import importlib.util
import pathlib
import sys
import types

import pytest
from geometry_msgs.msg import Point, Pose, PoseStamped, Quaternion, Vector3, Vector3Stamped
from std_msgs.msg import Header

from sam_perception.msg import GraspCandidate

EXAMPLE = pathlib.Path(__file__).resolve().parents[2] / "examples" / "grasp_with_moveit.py"
CANDIDATE = GraspCandidate(
    header=Header(frame_id="panda_link0"),
    object_id=3,
    pose=Pose(position=Point(x=0.4, y=0.1, z=0.2), orientation=Quaternion(x=1.0, y=0.0, z=0.0, w=0.0)),
    width=0.05,
    quality=0.9,
    approach=Vector3(x=0.0, y=0.0, z=-1.0),
    pregrasp_distance=0.12,
)


class Stage:
    """Takes what the bindings of its kind take; the example must set nothing else."""

    properties_of: tuple[str, ...] = ()
    methods_of: tuple[str, ...] = ()

    def __init__(self, name, *inner):
        self.__dict__.update(name=name, inner=inner, calls=[])

    def __setattr__(self, name, value):
        assert name in self.properties_of, f"{type(self).__name__} has no property {name}"
        self.__dict__[name] = value

    def __getattr__(self, name):
        if name == "properties":
            return types.SimpleNamespace(configureInitFrom=lambda *values: self.calls.append(("init from", *values)))
        if name not in self.methods_of:
            raise AttributeError(f"{type(self).__name__} has no {name}")
        return lambda *values: self.calls.append((name, *values))


def kind(name, properties=(), methods=()):
    return type(name, (Stage,), {"properties_of": tuple(properties), "methods_of": tuple(methods)})


class Task:
    def __init__(self):
        self.stages, self.name, self.model_of = {}, "", None

    def loadRobotModel(self, node):
        self.model_of = node

    def add(self, stage):
        self.stages[stage.name] = stage

    def __getitem__(self, name):
        return self.stages[name]


@pytest.fixture
def example(monkeypatch):
    stages = types.ModuleType("moveit.task_constructor.stages")
    stages.CurrentState = kind("CurrentState")
    stages.Connect = kind("Connect")
    stages.ModifyPlanningScene = kind("ModifyPlanningScene", (), ("allowCollisions", "attachObject"))
    stages.MoveTo = kind("MoveTo", ("group", "ik_frame"), ("setGoal",))
    stages.MoveRelative = kind("MoveRelative", ("group", "ik_frame", "min_distance", "max_distance"), ("setDirection",))
    stages.GeneratePose = kind("GeneratePose", ("pose",), ("setMonitoredStage",))
    stages.ComputeIK = kind("ComputeIK", ("group", "ik_frame", "max_ik_solutions"))
    source = types.SimpleNamespace(INTERFACE="interface")
    core = types.ModuleType("moveit.task_constructor.core")
    core.Task, core.Stage = Task, types.SimpleNamespace(PropertyInitializerSource=source)
    core.CartesianPath = core.JointInterpolationPlanner = object
    core.PipelinePlanner = lambda node: ("pipeline", node)
    package = types.ModuleType("moveit.task_constructor")
    package.core, package.stages = core, stages
    for name, module in (
        ("rclcpp", types.ModuleType("rclcpp")),
        ("moveit", types.ModuleType("moveit")),
        ("moveit.task_constructor", package),
    ):
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(sys, "argv", ["grasp_with_moveit.py", "366", "259"])
    spec = importlib.util.spec_from_file_location("grasp_with_moveit", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def task(example):
    return example.pick_task("the node", CANDIDATE, example.read_arguments())


def test_the_candidates_pose_goes_in_as_a_pose_stamped_for_the_tool_centre_point(task):
    inverse = task["grasp"]
    (generator,) = inverse.inner
    assert generator.pose == PoseStamped(header=CANDIDATE.header, pose=CANDIDATE.pose)
    assert generator.calls == [("setMonitoredStage", task["open"])]
    assert (inverse.group, inverse.ik_frame.header.frame_id) == ("panda_arm", "panda_hand")
    assert inverse.ik_frame.pose.position == Point(x=0.0, y=0.0, z=0.1034)
    assert inverse.calls == [("init from", "interface", ["target_pose"])]


def test_it_opens_approaches_closes_and_lifts_in_this_order(task):
    names = list(task.stages)
    assert names == [
        *("current state", "let the hand touch the object", "open", "go to the pre-grasp", "approach", "grasp"),
        *("close", "the object is in the hand, and leaves the table", "lift"),
    ]
    assert task.model_of == "the node"
    opened, closed = (dict(task[name].calls)["setGoal"] for name in ("open", "close"))
    assert opened == pytest.approx({"panda_finger_joint1": 0.025, "panda_finger_joint2": 0.025})
    assert set(closed.values()) == {0.0}


def test_it_comes_along_the_candidates_approach_and_goes_up(task):
    approach, lift = task["approach"], task["lift"]
    assert approach.calls == [("setDirection", Vector3Stamped(header=CANDIDATE.header, vector=CANDIDATE.approach))]
    assert (approach.min_distance, approach.max_distance) == pytest.approx((0.06, 0.12))
    ((_, upwards),) = lift.calls
    assert (upwards.header.frame_id, upwards.vector) == ("world", Vector3(x=0.0, y=0.0, z=1.0))


def test_the_object_of_sam_grasps_scene_may_be_touched_and_is_attached(task):
    ((_, thing, links, is_allowed),) = task["let the hand touch the object"].calls
    assert (thing, is_allowed) == ("object_3", True) and "panda_leftfinger" in links
    attach, leave = task["the object is in the hand, and leaves the table"].calls
    assert attach == ("attachObject", "object_3", "panda_hand")
    assert leave == ("allowCollisions", "object_3", ["table"], True)
