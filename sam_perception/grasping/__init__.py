"""Clouds in, ranked grasps of a parallel gripper out."""
