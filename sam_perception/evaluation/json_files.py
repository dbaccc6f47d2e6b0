"""Reads a JSON file, or says in one sentence why not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sam_perception.errors import InvalidInputError


def read_json(path: Path) -> Any:
    """The content of a file.

    Raises:
        InvalidInputError: it cannot be read, or is no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidInputError.for_field(f"{path}", "a readable file", error.strerror) from None
    except UnicodeDecodeError:
        raise InvalidInputError.for_field(f"{path}", "a JSON file", "a file that is no text") from None
    except ValueError as error:
        raise InvalidInputError.for_field(f"{path}", "a JSON file", f"another or a damaged one ({error})") from None
