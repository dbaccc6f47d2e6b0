"""Nodes with a life cycle: the states, what leads from one to the next, and the services that show and change them."""

from __future__ import annotations

from enum import Enum
from functools import partialmethod
from typing import Any, NamedTuple

from lifecycle_msgs.msg import State, Transition, TransitionDescription, TransitionEvent
from lifecycle_msgs.srv import ChangeState, GetAvailableStates, GetAvailableTransitions, GetState

from rclpy.node import Node

_STATES = {0: "unknown", 1: "unconfigured", 2: "inactive", 3: "active", 4: "finalized"}
_STATES |= {10: "configuring", 11: "cleaningup", 12: "shuttingdown", 13: "activating", 14: "deactivating"}
_STATES |= {15: "errorprocessing"}


class TransitionCallbackReturn(Enum):
    """What a callback such as on_configure answers."""

    SUCCESS = 97
    FAILURE = 98
    ERROR = 99


class LifecycleState(NamedTuple):
    """A state, as callbacks get it."""

    label: str
    state_id: int


class _Step(NamedTuple):
    id: int
    label: str
    start: int
    goal: int


# Each way from one state to another: its label, the ids of the requests and the states they start from, the state
# meanwhile, the id of what follows success (then failure, then error), and the states to which these lead.
_WAYS: tuple[tuple[str, dict[int, int], int, int, tuple[int, int, int]], ...] = (
    ("configure", {1: 1}, 10, 10, (2, 1, 15)),
    ("cleanup", {2: 2}, 11, 20, (1, 2, 15)),
    ("activate", {3: 2}, 13, 30, (3, 2, 15)),
    ("deactivate", {4: 3}, 14, 40, (2, 3, 15)),
    ("shutdown", {5: 1, 6: 2, 7: 3}, 12, 50, (4, 4, 15)),
    ("error", {}, 15, 60, (1, 4, 4)),
)
_CALLBACKS = {meanwhile: f"on_{label}" for label, _, meanwhile, *_ in _WAYS}
_STEPS: list[_Step] = []  # in rcl_lifecycle's order
for _label, _requests, _meanwhile, _first_id, _goals in _WAYS:
    _STEPS += [_Step(id_, _label, start, _meanwhile) for id_, start in _requests.items()]
    for _id, _answer, _goal in zip(
        range(_first_id, _first_id + 3), ("success", "failure", "error"), _goals, strict=True
    ):
        _STEPS.append(_Step(_id, f"transition_{_answer}", _meanwhile, _goal))


class LifecycleNode(Node):
    """A node that others configure, activate, deactivate and clean up; it overrides the on_... methods."""

    def __init__(self, node_name: str, **kwargs: Any) -> None:
        self._current_state = State.PRIMARY_STATE_UNCONFIGURED
        super().__init__(node_name, **kwargs)
        self._transition_events = self.create_publisher(TransitionEvent, "~/transition_event", 10)
        self.create_service(ChangeState, "~/change_state", self._on_change_state)
        self.create_service(GetState, "~/get_state", self._on_get_state)
        self.create_service(GetAvailableStates, "~/get_available_states", self._on_get_available_states)
        self.create_service(GetAvailableTransitions, "~/get_available_transitions", self._on_get_available_transitions)
        self.create_service(GetAvailableTransitions, "~/get_transition_graph", self._on_get_transition_graph)

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Called on the way from one state to another, with the one that is left."""
        return TransitionCallbackReturn.SUCCESS

    on_cleanup = on_activate = on_deactivate = on_shutdown = on_error = on_configure

    def _change_state(self, request: str | int) -> TransitionCallbackReturn:
        """Begin the transition with this label or id, and go where the answers of the callbacks lead."""
        step = next(
            (step for step in _STEPS if step.start == self._current_state and request in (step.id, step.label)), None
        )
        if step is None or self._current_state in _CALLBACKS:
            raise RuntimeError(f"There is no transition {request!r} from the state {_STATES[self._current_state]!r}.")
        before = LifecycleState(_STATES[self._current_state], self._current_state)
        self._take(step)
        answer = self._ask(before)
        if answer is TransitionCallbackReturn.ERROR:
            self._ask(before)
        return answer

    trigger_configure = partialmethod(_change_state, "configure")
    trigger_activate = partialmethod(_change_state, "activate")
    trigger_deactivate = partialmethod(_change_state, "deactivate")
    trigger_cleanup = partialmethod(_change_state, "cleanup")
    trigger_shutdown = partialmethod(_change_state, "shutdown")

    def _ask(self, before: LifecycleState) -> TransitionCallbackReturn:
        callback = getattr(self, _CALLBACKS[self._current_state])
        try:
            answer = TransitionCallbackReturn(callback(before))
        except Exception as error:
            self.get_logger().error(f"{callback.__name__} failed: {error!r}")
            answer = TransitionCallbackReturn.ERROR
        label = f"transition_{answer.name.lower()}"
        self._take(next(step for step in _STEPS if step.start == self._current_state and step.label == label))
        return answer

    def _take(self, step: _Step) -> None:
        self._current_state = step.goal
        self._transition_events.publish(TransitionEvent(start_state=_state(step.start), goal_state=_state(step.goal)))

    def _on_change_state(self, request: Any, response: Any) -> Any:
        try:
            answer = self._change_state(request.transition.label or request.transition.id)
            response.success = answer is TransitionCallbackReturn.SUCCESS
        except RuntimeError as error:
            self.get_logger().warning(str(error))
        return response

    def _on_get_state(self, request: Any, response: Any) -> Any:
        response.current_state = _state(self._current_state)
        return response

    def _on_get_available_states(self, request: Any, response: Any) -> Any:
        response.available_states = [_state(id_) for id_ in _STATES]
        return response

    def _on_get_available_transitions(self, request: Any, response: Any) -> Any:
        response.available_transitions = [_description(step) for step in _STEPS if step.start == self._current_state]
        return response

    def _on_get_transition_graph(self, request: Any, response: Any) -> Any:
        response.available_transitions = [_description(step) for step in _STEPS]
        return response


def _state(id_: int) -> State:
    return State(id=id_, label=_STATES[id_])


def _description(step: _Step) -> TransitionDescription:
    transition = Transition(id=step.id, label=step.label)
    return TransitionDescription(transition=transition, start_state=_state(step.start), goal_state=_state(step.goal))
