"""Simulated tabletop scenes and the virtual camera that looks at them."""

from __future__ import annotations
