"""The `sam-perception` command: dispatches to one module for each subcommand and turns errors into one sentence."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from typing import NoReturn

import sam_perception
from sam_perception.commands import (
    bench,
    demo,
    eval,
    interface,
    lifecycle,
    models,
    node,
    param,
    play,
    record,
    ros_arguments,
    run,
    segment,
    service,
    sim,
    topic,
    train,
    up,
)
from sam_perception.errors import PerceptionError

EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130

COMMANDS = (
    demo,
    segment,
    models,
    bench,
    sim,
    eval,
    train,
    run,
    up,
    topic,
    service,
    node,
    param,
    lifecycle,
    interface,
    record,
    play,
)
TAKE_ROS_ARGUMENTS = (run.run, up.run)

_NEGATIVE_NUMBERS = re.compile(r"-[\d.]")


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence, without a screenful of usage before it."""

    def error(self, message: str) -> NoReturn:
        """Print it and exit with 2."""
        self.exit(EXIT_BAD_INPUT, f"{self.prog}: {message} (see {self.prog} --help)\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        The exit code: 0; 2 after one sentence on stderr when the input, a file or the environment is at fault; 130
        after Ctrl-C. What is left is a bug, and raises.
    """
    parser = build_parser()
    ours, for_ros = ros_arguments.split(sys.argv[1:] if arguments is None else arguments)
    options = parser.parse_args(_joined(ours))
    if for_ros and options.run not in TAKE_ROS_ARGUMENTS:
        parser.error(f"{ros_arguments.BEGIN}: only `run` and `up` take ROS arguments")
    options.ros_arguments = for_ros
    try:
        code = options.run(options)
        sys.stdout.flush()
        return int(code)
    except PerceptionError as error:
        return _fail(str(error))
    except BrokenPipeError:  # the reader of our output left, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        return _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command."""
    parser = Parser(
        prog="sam-perception", description="Promptable RGB-D perception for robot arms.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"sam-perception {sam_perception.__version__}")
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add_parser(subparsers)
    return parser


def _joined(arguments: Sequence[str]) -> list[str]:
    """`--point -5,10` as `--point=-5,10`: argparse takes what begins with a dash for an option."""
    joined: list[str] = []
    for argument in arguments:
        if joined and joined[-1] in ("--point", "--box") and _NEGATIVE_NUMBERS.match(argument):
            joined[-1] += f"={argument}"
        else:
            joined.append(argument)
    return joined


def _fail(message: str) -> int:
    print(f"sam-perception: {message}", file=sys.stderr)
    return EXIT_BAD_INPUT


if __name__ == "__main__":
    sys.exit(main())
