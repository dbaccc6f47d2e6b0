"""A node says once in a while what is wrong, and no fault hides another one."""

import time

from sam_perception.nodes.throttled_warnings import ThrottledWarnings


class Logger:
    def __init__(self):
        self.said = []

    def warning(self, text):
        self.said.append(text)


def test_a_kind_is_said_once_a_period_and_never_holds_another_back(monkeypatch):
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    logger = Logger()
    warn = ThrottledWarnings(logger, period_s=5.0).warn
    warn("depth", "depth 1")
    warn("depth", "depth 2")
    warn("tf", "tf 1")
    now = 104.9
    warn("depth", "depth 3")
    now = 105.1
    warn("depth", "depth 4")
    warn("tf", "tf 2")
    assert logger.said == ["depth 1", "tf 1", "depth 4", "tf 2"]
