"""What docs/ and config/ say of parameters is what the nodes' tables say."""

import pathlib
import subprocess
import sys

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]


def test_parameter_tables_and_config_files_are_up_to_date():
    script = REPOSITORY / "scripts" / "generate_reference.py"
    done = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True, cwd=REPOSITORY)
    assert done.returncode == 0, done.stdout + done.stderr
