"""The classes of messages and services by the names that topics have in the graph."""

from __future__ import annotations

import importlib
from typing import Any

from sam_perception.errors import InvalidInputError


def interface_class(name: str) -> Any:
    """The class of `package/msg/Name`, `package/srv/Name`, or a service's part such as `package/srv/Name_Event`.

    Raises:
        InvalidInputError: it is not installed here.
    """
    package, kind, short = name.split("/")
    service, _, part = short.partition("_") if kind == "srv" else (short, "", "")
    try:
        found = getattr(importlib.import_module(f"{package}.{kind}"), service)
        return getattr(found, part) if part else found
    except (ImportError, AttributeError) as error:
        raise InvalidInputError(f"the type {name} is not known here: install {package} ({error})") from error
