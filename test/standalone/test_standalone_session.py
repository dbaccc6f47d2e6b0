"""How sessions of one machine find each other, and what they say about a configuration that cannot work."""

import pathlib
import socket
import sys
import threading

import pytest

pytest.importorskip("zenoh")

from sam_perception.errors import InvalidInputError
from sam_perception.standalone import session as session_module
from sam_perception.standalone.session import open_session

DEADLINE_S = 20.0


@pytest.fixture
def sessions(monkeypatch):
    """Opens sessions on a mesh of two ports that nobody else uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = min(probe.getsockname()[1], 65000)
    monkeypatch.setattr(session_module, "MESH_PORTS", range(port + 1, port + 3))
    monkeypatch.setattr(session_module, "ROUTER_PORT", port)
    opened = []
    yield lambda: opened.append(open_session()) or opened[-1]
    for session in opened:
        session.close()


def hears(session, token):
    """Whether it comes to know a token."""
    found = threading.Event()
    subscriber = session.liveliness().declare_subscriber(token, lambda _: found.set(), history=True)
    heard = found.wait(DEADLINE_S)
    subscriber.undeclare()
    return heard


def test_each_hears_all_others_even_when_there_are_more_than_ports(sessions):
    opened = [sessions() for _ in range(4)]
    tokens = [session.liveliness().declare_token(f"here/{number}") for number, session in enumerate(opened)]
    assert all(hears(session, f"here/{number}") for session in opened for number in range(len(tokens)))


def test_one_that_comes_back_is_found_again(sessions):
    first, second = sessions(), sessions()
    token = first.liveliness().declare_token("here/first")
    assert hears(second, "here/first")
    del token
    first.close()
    third = sessions()
    token = third.liveliness().declare_token("here/third")
    assert hears(second, "here/third")
    del token


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_nothing_but_loopback_is_listened_to(sessions):
    before = listening()
    sessions()
    assert {address for address, _ in listening() - before} == {"0100007F"}


def listening():
    """Address and inode of each listening socket of this process."""
    links = [path for path in pathlib.Path("/proc/self/fd").iterdir() if path.is_symlink()]
    own = {target[8:-1] for path in links if (target := str(path.readlink())).startswith("socket:[")}
    lines = [
        line.split() for name in ("tcp", "tcp6") for line in pathlib.Path(f"/proc/net/{name}").read_text().splitlines()
    ]
    return {(line[1].split(":")[0], line[9]) for line in lines if line[3] == "0A" and line[9] in own}


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("SAM_PERCEPTION_LISTEN", "7447", "SAM_PERCEPTION_LISTEN: expected .* got '7447'"),
        ("SAM_PERCEPTION_CONNECT", "tcp/127.0.0.1:1, robot", "SAM_PERCEPTION_CONNECT: expected .* got 'robot'"),
        ("SAM_PERCEPTION_LISTEN", "smoke/127.0.0.1:0", "smoke"),
        ("ZENOH_CONFIG_OVERRIDE", "no/such/key=1", "no/such/key=1"),
        ("ZENOH_CONFIG_OVERRIDE", "mode", "'mode' is no key/path=value"),
        ("ZENOH_SESSION_CONFIG_URI", "/no/such/file.json5", "/no/such/file.json5"),
    ],
)
def test_what_cannot_work_is_named(monkeypatch, sessions, variable, value, said):
    monkeypatch.setenv(variable, value)
    with pytest.raises(InvalidInputError, match=said):
        sessions()


def test_a_port_that_is_taken_is_explained(monkeypatch, sessions):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        monkeypatch.setenv("SAM_PERCEPTION_LISTEN", f"tcp/127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(InvalidInputError, match="port 0 picks a free one"):
            sessions()


def test_listen_and_connect_add_to_the_mesh(monkeypatch, sessions):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        endpoint = f"tcp/127.0.0.1:{probe.getsockname()[1]}"
    monkeypatch.setenv("SAM_PERCEPTION_LISTEN", endpoint)
    robot = sessions()
    monkeypatch.delenv("SAM_PERCEPTION_LISTEN")
    monkeypatch.setattr(session_module, "MESH_PORTS", range(1, 1))
    monkeypatch.setenv("SAM_PERCEPTION_CONNECT", endpoint)
    token = robot.liveliness().declare_token("here/robot")
    assert hears(sessions(), "here/robot")
    del token


def test_a_file_replaces_the_configuration_and_an_override_has_the_last_word(monkeypatch, sessions, tmp_path):
    path = tmp_path / "robot.json5"
    path.write_text("{mode: 'client', connect: {endpoints: ['tcp/127.0.0.1:9']}}")
    monkeypatch.setenv("ZENOH_SESSION_CONFIG_URI", str(path))
    with pytest.raises(InvalidInputError, match="zenoh cannot start"):  # a client with nobody to connect to
        sessions()
    monkeypatch.setenv("ZENOH_CONFIG_OVERRIDE", 'mode="peer";listen/endpoints=["tcp/127.0.0.1:0"]')
    assert not sessions().is_closed()
