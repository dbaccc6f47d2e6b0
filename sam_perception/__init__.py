"""Promptable RGB-D perception for robot arms: frames and prompts in; masks, clouds and boxes out."""

import pkgutil

# In a ROS workspace rosidl installs sam_perception.msg and sam_perception.srv elsewhere on sys.path.
__path__ = pkgutil.extend_path(__path__, __name__)

__version__ = "0.1.0"
