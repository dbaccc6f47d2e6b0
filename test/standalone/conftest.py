"""A ROS domain for each test session, so that what else runs on this machine is not seen."""

import os

os.environ["ROS_DOMAIN_ID"] = str(1 + os.getpid() % 100)
