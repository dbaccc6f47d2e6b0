"""How much of its requests and responses a service lets others see."""

from enum import Enum


class ServiceIntrospectionState(Enum):
    """All of them."""

    CONTENTS = 2
