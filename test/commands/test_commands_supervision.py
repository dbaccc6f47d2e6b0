"""Several processes run as one: what a person at the terminal sees, and what is left behind."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import ENVIRONMENT, FOLDER, PATIENCE_S, until, until_log

SUPERVISE = (sys.executable, FOLDER / "supervise.py")
POLITE = """
import os, time
try:
    print("at work", os.getpid())
    time.sleep(1000)
except KeyboardInterrupt:
    print("good bye")
"""
STUBBORN = """
import os, signal, time
signal.signal(signal.SIGINT, lambda *_: print("no, thanks"))
signal.signal(signal.SIGTERM, lambda *_: print("never"))
print("at work", os.getpid())
while True:
    time.sleep(1000)
"""


def pids(log):
    return [int(pid) for pid in re.findall(r"at work (\d+)", log.read_text())]


def is_alive(pid):
    """A zombie, which its new parent has not looked after yet, is dead."""
    try:
        return not re.search(r"^State:\s+Z", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    except FileNotFoundError:
        return False


def test_lines_of_both_streams_carry_the_name_even_without_a_newline(start):
    hello = "import sys; print('out'); sys.stdout.flush(); sys.stderr.write('[WARN] err\\n'); print('a\\rend', end='')"
    process, log = start(*SUPERVISE, json.dumps({"a": hello, "longer": "print('ünï')"}))
    assert process.wait(PATIENCE_S) == 0
    lines = log.read_text().splitlines()
    assert [line for line in lines if line.startswith("[a]")] == ["[a]      out", "[a]      [WARN] err", "[a]      end"]
    assert "[longer] ünï" in lines
    assert "[up]     longer has finished" in lines


def test_a_long_line_and_much_output_come_through(start):
    much = "print('x' * 300_000); [print(i) for i in range(20_000)]"
    process, log = start(*SUPERVISE, json.dumps({"a": much}))
    assert process.wait(PATIENCE_S) == 0
    lines = [line.removeprefix("[a]  ") for line in log.read_text().splitlines() if line.startswith("[a]")]
    assert sum(line.count("x") for line in lines) == 300_000
    assert [line for line in lines if "x" not in line] == [str(i) for i in range(20_000)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_one_signal_ends_all(start, number):
    process, log = start(*SUPERVISE, json.dumps({"a": POLITE, "b": POLITE}))
    until_log(log, "at work", times=2)
    process.send_signal(number)
    assert process.wait(PATIENCE_S) == 0
    assert log.read_text().count("good bye") == 2
    assert log.read_text().count("ending a, b") == 1
    assert not any(map(is_alive, pids(log)))


def test_a_child_that_ignores_signals_is_killed_in_the_end(start):
    process, log = start(*SUPERVISE, json.dumps({"a": POLITE, "b": STUBBORN}), 0.01, 0.2)
    until_log(log, "at work", times=2)
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE_S) == 1
    said = [line for line in log.read_text().splitlines() if line.startswith(("[up]", "[b]"))]
    assert [line[5:] for line in said if "at work" not in line] == [
        *("ending a, b", "no, thanks", "still here, so SIGTERM: b", "never", "still here, so SIGKILL: b")
    ]
    assert not any(map(is_alive, pids(log)))


def test_who_asks_again_need_not_wait(start):
    process, log = start(*SUPERVISE, json.dumps({"a": STUBBORN}), 0.01, 10_000)
    until_log(log, "at work")
    for answer in ("no, thanks", "never"):
        process.send_signal(signal.SIGINT)
        until_log(log, answer)
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE_S) == 1


def test_a_killed_child_is_started_again_and_the_others_stay(start):
    process, log = start(*SUPERVISE, json.dumps({"a": POLITE, "b": POLITE}))
    until_log(log, r"\[b\] +at work")
    until_log(log, r"\[a\] +at work")
    (a,) = (int(pid) for pid in re.findall(r"\[a\] +at work (\d+)", log.read_text()))
    (b,) = (int(pid) for pid in re.findall(r"\[b\] +at work (\d+)", log.read_text()))
    os.kill(a, signal.SIGKILL)
    until_log(log, r"\[a\] +at work", times=2)
    assert "a was ended by SIGKILL; starting it again" in log.read_text()
    assert is_alive(b)
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE_S) == 0
    assert log.read_text().count("good bye") == 2


def test_a_child_that_dies_again_and_again_is_given_up_with_its_last_lines(start):
    dying = "print('first'); print('the reason'); raise SystemExit(7)"
    process, log = start(*SUPERVISE, json.dumps({"a": POLITE, "b": dying}))
    assert process.wait(PATIENCE_S) == 1
    text = log.read_text()
    assert len(re.findall(r"^\[b\] +the reason", text, re.MULTILINE)) == 5
    pauses = [float(pause) for pause in re.findall(r"starting it again in ([\d.]+) s", text)]
    assert pauses == sorted(pauses)
    assert len(set(pauses)) == 4
    sentence = text[text.index("sentence:") :]
    assert "b has died 5 times in a row" in sentence
    assert "exit code 7" in sentence
    assert sentence.rstrip().endswith("\n  first\n  the reason")
    assert not any(map(is_alive, pids(log)))


def test_bad_input_is_not_tried_twice(start):
    process, log = start(*SUPERVISE, json.dumps({"a": POLITE, "b": "print('no such file'); raise SystemExit(2)"}))
    assert process.wait(PATIENCE_S) == 1
    assert len(re.findall(r"^\[b\] +no such file", log.read_text(), re.MULTILINE)) == 1
    assert "sentence: b ended with exit code 2" in log.read_text()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends children with their parent")
@pytest.mark.parametrize("child", [POLITE, STUBBORN])
def test_children_do_not_survive_their_killed_parent(start, child):
    process, log = start(*SUPERVISE, json.dumps({"a": child, "b": child}))
    until_log(log, "at work", times=2)
    process.kill()
    process.wait()
    until(lambda: not any(map(is_alive, pids(log))), log.read_text)


def test_when_the_reader_leaves_all_ends_even_in_silence(start, tmp_path):
    supervise = " ".join(map(str, SUPERVISE))
    code = POLITE.replace("at work", "at work in silence after")
    script = f'{supervise} "$CHILDREN" 2>{tmp_path}/errors | head -1; echo ${{PIPESTATUS[0]}}'
    process, log = start("bash", "-c", script, CHILDREN=json.dumps({"a": code}))
    assert process.wait(PATIENCE_S) == 0
    assert re.fullmatch(r"\[a\]  at work in silence after \d+\n0\n", log.read_text())
    assert (tmp_path / "errors").read_text() == ""
    assert not is_alive(int(re.findall(r"\d+", log.read_text())[0]))


@pytest.mark.parametrize("no_color", [{}, {"NO_COLOR": "1"}])
def test_colours_are_for_terminals(no_color):
    controller, terminal = pty.openpty()
    environment = {name: value for name, value in ENVIRONMENT.items() if name != "NO_COLOR"}
    process = subprocess.Popen(
        [*SUPERVISE, json.dumps({"a": "print('[ERROR] bad')"})],
        stdout=terminal,
        env={**environment, "TERM": "xterm", **no_color},
    )
    os.close(terminal)
    said = b""
    while b"finished" not in said:
        said += os.read(controller, 4096)
    assert process.wait(PATIENCE_S) == 0
    os.close(controller)
    assert (b"\x1b[31m[ERROR] bad" in said) == (not no_color)
    assert (b"\x1b[" in said) == (not no_color)
