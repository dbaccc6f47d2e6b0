"""A program written with zenoh-ros2-sdk, for test_standalone_zenoh_ros2_sdk.py: `sdk_peer.py DEFINITIONS PORT HASH`."""

import json
import sys
import threading
import time

import numpy as np
import zenoh_ros2_sdk as sdk

folder, port, segment_hash = sys.argv[1], int(sys.argv[2]), sys.argv[3]  # it cannot hash a bounded sequence itself
DEADLINE_S = 60.0
there = {"router_ip": "127.0.0.1", "router_port": port}
sdk.get_registry(folder)  # definitions come from here and not from the network
session = sdk.ZenohSession.get_instance("127.0.0.1", port)


def until(look, found):
    """What `look` returns as soon as `found` says yes to it."""
    end = time.monotonic() + DEADLINE_S
    while not found(seen := look()) and time.monotonic() < end:
        time.sleep(0.05)
    return seen


topics = dict(until(lambda: sdk.get_topic_names_and_types(**there), lambda seen: "/sam/objects" in dict(seen)))
services = dict(until(lambda: sdk.get_service_names_and_types(**there), lambda seen: "/sam/segment" in dict(seen)))
info = sdk.get_topic_info("/sam/objects", verbose=True, **there)
print(json.dumps({"topics": topics, "services": services, "info": repr(info)}), flush=True)

received, got = [], threading.Event()


def hear(message):
    """Keep the first."""
    received.append(message)
    got.set()


subscriber = sdk.ROS2Subscriber("/sam/objects", "sam_perception/msg/ObjectMaskArray", hear, **there)
got.wait(DEADLINE_S)
mask = received[0].objects[0]
pixels = [int(value) for value in mask.mask.data]
print(json.dumps({"width": received[0].image_width, "label": mask.label, "pixels": pixels}), flush=True)

segment = ("/sam/segment", "sam_perception/srv/Segment")
client = sdk.ROS2ServiceClient(*segment, type_hash=segment_hash, timeout=DEADLINE_S, **there)
types = session.store.types
stamp = types["builtin_interfaces/msg/Time"](sec=5, nanosec=6)
header = types["std_msgs/msg/Header"](stamp=stamp, frame_id="")
image = types["sensor_msgs/msg/Image"](header, 0, 0, "", 0, 0, np.zeros(0, np.uint8))
answer = client.call(stamp=stamp, image=image, prompts=[], multimask=True)
print(json.dumps({"success": bool(answer.success), "message": answer.message}), flush=True)


def switch(request):
    """What a server of the SDK answers."""
    return types["std_srvs/srv/msg/SetBool_Response"](success=not request.data, message="switched")


publisher = sdk.ROS2Publisher("/sdk/status", "std_msgs/msg/String", node_name="sdk_talker", namespace="/robot", **there)
server = sdk.ROS2ServiceServer("/sdk/switch", "std_srvs/srv/SetBool", switch, node_name="sdk_server", **there)
print(json.dumps({"serves": True}), flush=True)
for line in sys.stdin:
    publisher.publish(data=line.strip())
