"""RealSense cameras through pyrealsense2, and librealsense's recordings; knows nothing of ROS."""
