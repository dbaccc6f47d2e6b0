"""Tokens and keys against the examples in rmw_zenoh's docs/design.md."""

import pytest

pytest.importorskip("zenoh")

from sam_perception.standalone.graph import CLIENT, NODE, PUBLISHER, SERVICE, SUBSCRIPTION, Entity, Qos

HASH = "RIHS01_df668c740482bbd48fb39d76a70dfd4bd59db1288021743503259e948f6b1a18"
STRING = ("std_msgs/msg/String", HASH)
ADD = ("example_interfaces/srv/AddTwoInts", "RIHS01_e118de6bf5eeb66a2491b5bda11202e7b68f198d6f67922cf30364858239c81a")
TOKENS = [
    ("@ros2_lv/0/aac3178e146ba6f1fc6e6a4085e77f21/0/0/NN/%/%/listener", Entity(NODE, "/", "listener")),
    ("@ros2_lv/2/aac3178e146ba6f1fc6e6a4085e77f21/3/3/NN/%/%lab%left/sam", Entity(NODE, "/lab/left", "sam")),
    (
        "@ros2_lv/0/aac3178e146ba6f1fc6e6a4085e77f21/0/10/MS/%/%/listener/%chatter/std_msgs::msg::dds_::String_/"
        f"{HASH}/::,10:,:,:,,",
        Entity(SUBSCRIPTION, "/", "listener", "/chatter", *STRING, Qos(depth=10)),
    ),
    (
        "@ros2_lv/0/8b20917502ee955ac4476e0266340d5c/0/10/MP/%/%/talker/%chatter/std_msgs::msg::dds_::String_/"
        f"{HASH}/::,7:,:,:,,",
        Entity(PUBLISHER, "/", "talker", "/chatter", *STRING, Qos(depth=7)),
    ),
    (
        "@ros2_lv/0/f9980ee0495eaafb3e38f0d19e2eae12/0/10/SS/%/%/add_two_ints_server/%add_two_ints/"
        f"example_interfaces::srv::dds_::AddTwoInts_/{ADD[1]}/::,10:,:,:,,",
        Entity(SERVICE, "/", "add_two_ints_server", "/add_two_ints", *ADD, Qos(depth=10)),
    ),
    (
        "@ros2_lv/0/e1dc8d1b45ae8717fce78689cc655685/1/11/SC/%/%a/add_two_ints_client/%a%add_two_ints/"
        f"example_interfaces::srv::dds_::AddTwoInts_/{ADD[1]}/2:1:,1:,:,:,,",
        Entity(CLIENT, "/a", "add_two_ints_client", "/a/add_two_ints", *ADD, Qos(2, 1, 1, 1)),
    ),
]


@pytest.mark.parametrize(("token", "entity"), TOKENS)
def test_tokens_are_those_of_rmw_zenoh_in_both_directions(token, entity):
    assert Entity.from_token(token) == entity
    _, domain, session, node_id, own_id, *_ = token.split("/")
    assert entity.token(int(domain), session, int(node_id), int(own_id)) == token


@pytest.mark.parametrize(
    ("qos", "text"),
    [
        (Qos(), "::,:,:,:,,"),
        (Qos(reliability=2, depth=5), "2::,5:,:,:,,"),
        (Qos(durability=1, depth=1), ":1:,1:,:,:,,"),
        (Qos(history=2), "::2,:,:,:,,"),
    ],
)
def test_only_what_differs_from_the_default_is_in_a_token(qos, text):
    assert qos.encode() == text
    assert Qos.decode(text) == qos


def test_deadlines_and_leases_of_others_do_not_disturb():
    assert Qos.decode("1:2:1,3:10,0:5,0:1,9223372036,854775807") == Qos(depth=3)


def test_what_is_part_of_a_later_protocol_is_kept_out_of_the_way():
    token, entity = TOKENS[2]
    assert Entity.from_token(token + "/backends:cuda:1") == entity


@pytest.mark.parametrize(
    "token", ["@ros2_lv/0/a/0/0", "@ros2_lv/0/a/0/1/MP/%/%/talker/%chatter", TOKENS[2][0].replace("10:", "ten:"), ""]
)
def test_what_is_no_token_is_a_value_error(token):
    with pytest.raises(ValueError):  # noqa: PT011 all that the graph has to know
        Entity.from_token(token)


def test_data_keys_are_those_of_rmw_zenoh():
    in_namespace = Entity(PUBLISHER, "/robot1", "talker", "/robot1/chatter", *STRING)
    assert in_namespace.data_key(0) == f"0/robot1/chatter/std_msgs::msg::dds_::String_/{HASH}"
    service = Entity(SERVICE, "/", "server", "/add_two_ints", *ADD)
    assert service.data_key(2) == f"2/add_two_ints/example_interfaces::srv::dds_::AddTwoInts_/{ADD[1]}"
