"""ROS arguments: what stands between `--ros-args` and `--` on a command line, read by rcl's rules."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from sam_perception.errors import InvalidInputError

LOG_LEVELS = {"UNSET": 0, "DEBUG": 10, "INFO": 20, "WARN": 30, "ERROR": 40, "FATAL": 50}

_TOKEN = r"(?!\d|\w*__)\w+"
_NAME = rf"(?:~?/)?{_TOKEN}(?:/{_TOKEN})*"
_REMAP = re.compile(
    rf"(?:(?P<node>{_TOKEN}):)?(?:"
    rf"__(?:node|name):=(?P<to_node>{_TOKEN})|__ns:=(?P<to_namespace>/|(?:/{_TOKEN})+)|(?P<name>{_NAME}):=(?P<to>{_NAME}))",
    re.ASCII,
)
_PARAMETER = re.compile(
    rf"(?:(?P<node>{_TOKEN}):)?(?P<name>(?!\d|__)[\w/]+(?:\.(?!\d|__)[\w/]+)*):=(?P<value>.+)", re.ASCII | re.DOTALL
)
_LOG_LEVEL = re.compile(rf"(?:(?P<logger>[^\s:=]+):=)?(?P<level>{'|'.join(LOG_LEVELS)})", re.IGNORECASE)
_NODES = re.compile(r"/?(?:(?:\*\*?|(?!\d)\w+)/)*(?:\*\*?|(?!\d)\w+)", re.ASCII)
_BOOLS = dict.fromkeys(("Y", "y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True)
_BOOLS |= dict.fromkeys(("N", "n", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False)
_DOTTED_FLOAT = re.compile(r"([+-]?)\.((?:inf|Inf|INF|nan|NaN|NAN))")


class _Remap(NamedTuple):
    """Of `to_node`, `to_namespace` and `to` (with `name`), one is given."""

    node: str | None
    to_node: str | None
    to_namespace: str | None
    name: str | None
    to: str | None


@dataclass(frozen=True)
class Arguments:
    """The rules of one command line; in `a + b` those of `a` (a node's own) win over those of `b` (the process's)."""

    remaps: list[_Remap] = field(default_factory=list)
    parameters: dict[str, dict[str, Any]] = field(default_factory=dict)  # which nodes -> name -> value
    log_levels: dict[str, int] = field(default_factory=dict)  # logger -> level; "" stands for every other logger
    unparsed: list[str] = field(default_factory=list)

    def __add__(self, other: Arguments) -> Arguments:
        parameters = {
            nodes: {**other.parameters.get(nodes, {}), **self.parameters.get(nodes, {})}
            for nodes in {**other.parameters, **self.parameters}
        }
        levels = {**other.log_levels, **self.log_levels}
        return Arguments(self.remaps + other.remaps, parameters, levels, self.unparsed + other.unparsed)

    def node_name(self, default: str) -> str:
        """The node's name after `__node`."""
        name = next((rule.to_node for rule in self._remaps_of(default) if rule.to_node), default)
        if not re.fullmatch(r"(?!\d)\w{1,255}", name, re.ASCII):
            raise InvalidInputError(f"node name {name!r}: must be letters, digits and '_', and not start with a digit")
        return name

    def namespace(self, default: str | None, node_name: str) -> str:
        """The node's absolute namespace after `__ns`; `node_name` is its name after `__node`."""
        given = "/" + (default or "").removeprefix("/")
        namespace = next((rule.to_namespace for rule in self._remaps_of(node_name) if rule.to_namespace), given)
        return namespace if namespace == "/" else expand_name(namespace, "/", node_name)

    def remap_topic(self, name: str, node: str) -> str:
        """The name that stands for `name` (absolute) in `node` (fully qualified)."""
        namespace, node_name = node.rsplit("/", 1)
        for rule in self._remaps_of(node_name):
            if rule.name and rule.to and expand_name(rule.name, namespace, node_name) == name:
                return expand_name(rule.to, namespace, node_name)
        return name

    remap_service = remap_topic

    def parameter_overrides(self, node: str) -> dict[str, Any]:
        """Name and value of every parameter that was given for `node` (fully qualified); None is an empty list."""
        overrides: dict[str, Any] = {}
        for nodes, values in self.parameters.items():
            if re.fullmatch(("/" + nodes.removeprefix("/")).replace("/*", r"(/\w+)"), node, re.ASCII):
                overrides.update(values)
        return overrides

    def _remaps_of(self, node_name: str) -> Iterator[_Remap]:
        return (rule for rule in self.remaps if rule.node in (None, node_name))


def parse_ros_arguments(arguments: Sequence[str]) -> Arguments:
    """Read a command line.

    Raises:
        InvalidInputError: A ROS argument is unknown or malformed; the message quotes it.
    """
    rules = Arguments()
    rest = iter(arguments)
    inside = False
    for flag in rest:
        if flag == "--ros-args":
            inside = True
        elif not inside:
            rules.unparsed.append(flag)
        elif flag == "--":
            inside = False
        elif flag in _ADD:
            _add(rules, flag, next(rest, ""))
        else:
            raise InvalidInputError(f"unknown ROS argument {flag!r}: known are {', '.join(_ADD)}, and -- ends them")
    return rules


def expand_name(name: str, namespace: str, node_name: str) -> str:
    """The absolute form of a relative (`image`), private (`~/click`) or absolute (`/tf`) name.

    Raises:
        InvalidInputError: The name breaks one of rcl's rules; the message names the rule.
    """
    for broken, rule in (
        (r"", "it must not be empty"),
        (r".*/", "it must not end with '/'"),
        (r".*[^\w/~].*", "it must be made of letters, digits, '_', '/' and a leading '~'"),
        (r".+~.*|~[^/].*", "'~' may only stand at the start, before '/'"),
        (r"(.*/)?\d.*", "no part of it may start with a digit"),
        (r".*//.*", "it must not contain '//'"),
    ):
        if re.fullmatch(broken, name, re.ASCII | re.DOTALL):
            raise InvalidInputError(f"name {name!r}: {rule}")
    if name.startswith("~"):
        name = node_name + name[1:]
    return name if name.startswith("/") else f"{namespace.rstrip('/')}/{name}"


def _add(rules: Arguments, flag: str, text: str) -> None:
    try:
        _ADD[flag](rules, text)
    except (ValueError, OSError, yaml.YAMLError) as error:
        raise InvalidInputError(f"ROS argument '{flag} {text}': {' '.join(str(error).split())}") from None


def _add_remap(rules: Arguments, text: str) -> None:
    found = _REMAP.fullmatch(text)
    if not found:
        raise ValueError("expected [node:]from:=to, [node:]__node:=name or [node:]__ns:=/namespace")
    rules.remaps.append(_Remap(**found.groupdict()))


def _add_log_level(rules: Arguments, text: str) -> None:
    found = _LOG_LEVEL.fullmatch(text)
    if not found:
        raise ValueError(f"expected [logger:=]level with one of the levels {', '.join(LOG_LEVELS)}")
    rules.log_levels[found["logger"] or ""] = LOG_LEVELS[found["level"].upper()]


def _add_parameter(rules: Arguments, text: str) -> None:
    found = _PARAMETER.fullmatch(text)
    if not found:
        raise ValueError("expected [node:]name:=value")
    value = _value(yaml.compose(found["value"], Loader=yaml.BaseLoader))
    rules.parameters.setdefault(found["node"] or "/**", {})[found["name"]] = value


def _add_parameter_file(rules: Arguments, path: str) -> None:
    root = yaml.compose(Path(path).read_text(), Loader=yaml.BaseLoader)
    for keys, value in _leaves((), root) if root else ():
        split = keys.index("ros__parameters") if "ros__parameters" in keys else 0
        nodes = "/".join(keys[:split])
        if not _NODES.fullmatch(nodes) or split + 1 == len(keys):
            raise ValueError(f"{': '.join(keys)}: expected node: ros__parameters: name: value")
        rules.parameters.setdefault(nodes, {})[".".join(keys[split + 1 :])] = value


def _leaves(keys: tuple[str, ...], node: yaml.Node) -> Iterator[tuple[tuple[str, ...], Any]]:
    if not isinstance(node, yaml.MappingNode):
        yield keys, _value(node)
        return
    for key, value in node.value:
        yield from _leaves((*keys, str(key.value)), value)


def _value(node: yaml.Node | None) -> Any:
    """What rcl makes of a YAML value; None for an empty list, whose type nobody can tell."""
    if not isinstance(node, yaml.SequenceNode):
        return _scalar(node)
    values = [_scalar(item) for item in node.value]
    if len({type(value) for value in values}) > 1:
        raise ValueError(f"all values of a list must have one type: {values}")
    return values or None


def _scalar(node: yaml.Node | None) -> bool | int | float | str:
    """YAML 1.1 and rcl differ in what a number or a bool is."""
    if not isinstance(node, yaml.ScalarNode) or not (node.value or node.style):
        line = node.start_mark.line + 1 if node else 1
        raise ValueError(f"line {line}: expected a bool, a number, a string or a list of them")
    text = node.value
    if node.style or "_" in text:
        return text
    if text in _BOOLS:
        return _BOOLS[text]
    for base, digits in ((10, r"[+-]?(0|[1-9][0-9]*)"), (8, r"[+-]?0[0-7]+"), (16, r"[+-]?0[xX][0-9a-fA-F]+")):
        if re.fullmatch(digits, text) and -(2**63) <= int(text, base) < 2**63:
            return int(text, base)
    try:
        return float(_DOTTED_FLOAT.sub(r"\1\2", text))
    except ValueError:
        return text


_ADD: dict[str, Callable[[Arguments, str], None]] = {
    "-r": _add_remap,
    "--remap": _add_remap,
    "-p": _add_parameter,
    "--param": _add_parameter,
    "--params-file": _add_parameter_file,
    "--log-level": _add_log_level,
}
