"""`python3 -m sam_perception.standalone SCRIPT ...` runs a script of ordinary rclpy code where ROS is not installed."""

import runpy
import sys

from sam_perception.standalone import install_where_needed

if len(sys.argv) < 2:
    sys.exit("usage: python3 -m sam_perception.standalone SCRIPT [ARGUMENT ...]")
install_where_needed()
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
