"""Asks the running nodes in every way there is, one after the other: `python ask.py`."""
# ruff: noqa: E402

import json
import sys

from sam_perception.standalone import install_where_needed

install_where_needed()

import rclpy
from geometry_msgs.msg import Point, PointStamped
from sensor_msgs.msg import Image
from std_srvs.srv import Trigger
from vision_msgs.msg import Point2D

from sam_perception.frame_files import SAMPLE_DIRECTORY, read_sample
from sam_perception.msg import ObjectMaskArray, Prompt
from sam_perception.nodes.client import Client
from sam_perception.nodes.images import image_message
from sam_perception.srv import Segment, SegmentBox, SegmentPoints

OBJECTS = json.loads((SAMPLE_DIRECTORY / "objects.json").read_text())


def ask(client):
    """Each answer is there before the next prompt."""
    (x, y), (u, v) = (map(float, described["click"]) for described in OBJECTS[:2])
    header = client.first(Image, "/camera/camera/color/image_raw").header
    answer = client.call(SegmentPoints, "/sam/segment_points", points=[Point2D(x=x, y=y)], multimask=True)
    assert answer.success, answer.message
    answer = client.call(SegmentBox, "/sam/segment_box", box=[float(edge) for edge in OBJECTS[1]["box"]])
    assert answer.success, answer.message
    prompts = [Prompt(object_id=7, points=[Point2D(x=x, y=y)]), Prompt(object_id=9, points=[Point2D(x=u, y=v)])]
    answer = client.call(Segment, "/sam/segment", prompts=prompts)
    assert answer.success, answer.message
    image = image_message(read_sample().color, "rgb8", header)
    answer = client.call(Segment, "/sam/segment", prompts=prompts[:1], image=image)
    assert answer.success, answer.message
    assert not client.call(SegmentPoints, "/sam/segment_points").success
    answers = client.listen(ObjectMaskArray, "/sam/objects")
    click = PointStamped()
    click.point.x, click.point.y = x, y
    client.publisher(PointStamped, "/sam/click").publish(click)
    answers.wait(lambda message: len(message.objects))
    answers.clear()
    client.publisher(Point, "/sam/mask_overlay_mouse_left").publish(Point(x=u, y=v))
    answers.wait(lambda message: len(message.objects))
    assert client.call(Trigger, "/sam/clear").success
    print("asked", flush=True)


def main():
    rclpy.init(args=[])
    with Client("asking") as client:
        client.wait_until_active("/sam")
        ask(client)
    rclpy.try_shutdown()


if __name__ == "__main__":
    sys.exit(main())
