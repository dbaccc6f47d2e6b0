"""A node starts itself, and whatever fails in a transition leaves it unconfigured and ready to be configured again."""

import pytest
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState

from sam_perception.errors import PerceptionError
from sam_perception.nodes.client import wait_until
from sam_perception.nodes.managed_node import ManagedNode
from sam_perception.nodes.parameters import Parameter

STATES = {
    State.PRIMARY_STATE_UNCONFIGURED: "unconfigured",
    State.PRIMARY_STATE_INACTIVE: "inactive",
    State.PRIMARY_STATE_ACTIVE: "active",
    State.PRIMARY_STATE_FINALIZED: "finalized",
}
TRANSITIONS = {
    "configure": Transition.TRANSITION_CONFIGURE,
    "activate": Transition.TRANSITION_ACTIVATE,
    "deactivate": Transition.TRANSITION_DEACTIVATE,
    "cleanup": Transition.TRANSITION_CLEANUP,
    "shutdown": Transition.TRANSITION_ACTIVE_SHUTDOWN,
}


class Walker(ManagedNode):
    """Notes its transitions, and fails in those that it is told to fail in."""

    def __init__(self, **options):
        self.walked, self.failing = [], {}
        super().__init__("walker", [Parameter("model", "a", "Model.", changeable=False)], **options)

    def _step(self, name):
        self.walked.append(name)
        if name in self.failing:
            raise self.failing[name]

    def configure(self):
        self._step("configure")

    def activate(self):
        self._step("activate")

    def deactivate(self):
        self._step("deactivate")

    def cleanup(self):
        self._step("cleanup")


@pytest.fixture
def change(client):
    def change(name):
        request = Transition(id=TRANSITIONS[name])
        return client.call(ChangeState, "/walker/change_state", transition=request).success

    return change


@pytest.fixture
def state(client):
    return lambda: STATES.get(client.call(GetState, "/walker/get_state").current_state.id)


def test_it_configures_and_activates_itself(run_node, state):
    node = run_node(Walker)
    wait_until(lambda: state() == "active", "the active state")
    assert node.walked == ["configure", "activate"]
    assert node.state == "active"


def test_without_autostart_it_waits_to_be_told_and_walks_all_the_way_and_back(run_node, state, change):
    node = run_node(Walker, autostart=False)
    assert state() == "unconfigured"
    for _ in range(2):
        node.walked.clear()
        for name, reached in (
            ("configure", "inactive"),
            ("activate", "active"),
            ("deactivate", "inactive"),
            ("activate", "active"),
            ("deactivate", "inactive"),
            ("cleanup", "unconfigured"),
        ):
            assert change(name)
            assert state() == reached == node.state
        assert node.walked == ["configure", "activate", "deactivate", "activate", "deactivate", "cleanup"]


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (PerceptionError("the weights are missing; run the download"), "the weights are missing; run the download"),
        (ZeroDivisionError("by zero"), "ZeroDivisionError: by zero"),
    ],
)
def test_a_failed_configure_is_logged_in_a_sentence_and_can_be_tried_again(
    run_node, state, change, wait_for_text, error, sentence
):
    node = run_node(Walker, autostart=False)
    node.failing["configure"] = error
    assert not change("configure")
    assert state() == "unconfigured"
    assert sentence in node.last_failure
    assert "Traceback" not in wait_for_text(sentence)
    assert node.walked == ["configure", "deactivate", "cleanup"]  # what was half done is let go of
    node.failing.clear()
    assert change("configure")
    assert node.last_failure == ""
    assert change("activate")
    assert state() == "active"


def test_autostart_that_fails_leaves_a_node_that_can_be_configured(run_node, state, change):
    class Broken(Walker):
        def __init__(self, **options):
            super().__init__(**options)
            self.failing["configure"] = RuntimeError("no model")

    node = run_node(Broken)
    wait_until(lambda: node.last_failure, "the failure")
    wait_until(lambda: state() == "unconfigured", "the unconfigured state")
    assert "activate" not in node.walked
    node.failing.clear()
    assert change("configure")
    assert state() == "inactive"


@pytest.mark.parametrize("step", ["activate", "deactivate", "cleanup"])
def test_a_failure_further_on_lets_go_of_everything_as_well(run_node, state, change, step):
    node = run_node(Walker, autostart=False)
    node.failing[step] = RuntimeError("broken")
    for name in ("configure", "activate", "deactivate", "cleanup"):
        if not change(name):
            break
    assert name == step
    assert state() == "unconfigured" == node.state
    assert node.walked[-2:] == ["deactivate", "cleanup"]
    node.failing.clear()
    assert change("configure")


def test_parameters_are_locked_from_configure_to_cleanup(run_node, change):
    node = run_node(Walker, autostart=False)
    locked = []
    for name in ("configure", "activate", "deactivate", "cleanup"):
        assert change(name)
        locked.append(node.parameters.locked)
    assert locked == [True, True, True, False]


def test_shutdown_lets_go_of_everything_and_is_final(run_node, state, change):
    node = run_node(Walker)
    wait_until(lambda: state() == "active", "the active state")
    assert change("shutdown")
    assert state() == "finalized"
    assert node.walked[-2:] == ["deactivate", "cleanup"]


def test_release_goes_on_after_a_step_that_fails(run_node):
    node = run_node(Walker, autostart=False)
    node.failing["deactivate"] = RuntimeError("broken")
    node.release()
    node.release()
    assert node.walked == ["deactivate", "cleanup"] * 2
