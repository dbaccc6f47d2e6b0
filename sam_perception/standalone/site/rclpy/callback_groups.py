"""Callback groups: which callbacks of a node may run at the same time."""


class CallbackGroup:
    """Base of both; executors ask and count, holding their lock."""

    limit = float("inf")
    running = 0


class ReentrantCallbackGroup(CallbackGroup):
    """Any number at once."""


class MutuallyExclusiveCallbackGroup(CallbackGroup):
    """One at a time."""

    limit = 1
