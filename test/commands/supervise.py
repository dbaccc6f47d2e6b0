"""Supervises commands for the tests: `python supervise.py '{"name": "python code", ...}' [first_pause_s [stop_s]]`."""

import json
import os
import sys

from sam_perception.commands.child_process import Command
from sam_perception.commands.supervision import Policy, Supervisor
from sam_perception.errors import PerceptionError

commands = [Command(name, (sys.executable, "-c", code)) for name, code in json.loads(sys.argv[1]).items()]
first_pause_s, stop_s = (*map(float, sys.argv[2:]), 0.01, 60.0)[:2]
try:
    sys.exit(Supervisor(commands, Policy(first_pause_s=first_pause_s, stop_s=(stop_s, stop_s))).run())
except PerceptionError as error:
    sys.exit(f"sentence: {error}")
except BrokenPipeError:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
