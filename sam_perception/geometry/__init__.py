"""Masks and depth in, metres out: rays, clouds, planes and boxes, in the camera's optical frame."""
