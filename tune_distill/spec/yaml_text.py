"""The YAML of study and profile files: bounded, without tags, and 5e-5 is a number.

Files are untrusted, and a few bytes of YAML can expand to gigabytes. So nodes are counted before
values are built from them, and aliases and merge keys count each time they are used.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

MAX_CHARACTERS = 2**18
"""The longest YAML text, in characters."""

MAX_NODES = 100_000
"""The most keys and values of a text with its aliases expanded."""

MAX_DEPTH = 30
"""The deepest nesting of lists and mappings."""

_MERGE = "tag:yaml.org,2002:merge"
_STR = "tag:yaml.org,2002:str"
_INT = "tag:yaml.org,2002:int"
_FLOAT = "tag:yaml.org,2002:float"
_TIMESTAMP = "tag:yaml.org,2002:timestamp"

# Excludes octal 010 and sexagesimal 1:30, which YAML 1.2 reads as 10 and as a text, and integers
# beyond 64 bits.
_WHOLE = re.compile(r"[-+]?(?:0|[1-9](?:_?[0-9]){0,17}|0x[0-9a-fA-F]{1,15})\Z")
_DIGITS = r"[0-9](?:_?[0-9])*"
# Digits match in only one way, so that matching a long text takes linear time.
_REAL = re.compile(
    rf"[-+]?(?:(?:{_DIGITS}(?:\.(?:{_DIGITS})?)?|\.{_DIGITS})[eE][-+]?[0-9]{{1,4}}"
    rf"|{_DIGITS}\.(?:{_DIGITS})?|\.{_DIGITS}"
    r"|\.(?:inf|Inf|INF))\Z|\.(?:nan|NaN|NAN)\Z"
)


# An escape such as "\ud800" yields a lone surrogate, which no file can hold.
_SURROGATE = re.compile("[\ud800-\udfff]")


def parse_yaml(text: str) -> Any:
    """Return the content of the text.

    Raises:
        yaml.YAMLError: the text is not YAML, has a tag or a repeated key, or exceeds a limit.
    """
    if len(text) > MAX_CHARACTERS:
        raise yaml.YAMLError(f"it may have {MAX_CHARACTERS:,} characters, and has more")
    return yaml.load(text, Loader=_Loader)


def dump_yaml(value: Any) -> str:
    """Return YAML that `parse_yaml` reads back as `value`, with its keys in the same order."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


class _Loader(yaml.SafeLoader):
    """Checks the limits, then builds mappings, lists, texts, numbers, truth values and null."""

    yaml_implicit_resolvers = {  # noqa: RUF012
        first: [(tag, pattern) for tag, pattern in found if tag not in (_INT, _FLOAT, _TIMESTAMP)]
        for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0
        self._sizes: dict[int, int] = {}

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent):
            return super().compose_node(parent, index)
        tag = getattr(event, "tag", None)
        if tag not in (None, "!", _STR):
            raise _refusal(f"tags such as {tag} are not read", event.start_mark)
        if self._depth == MAX_DEPTH:
            raise _refusal(f"it may be nested {MAX_DEPTH} deep", event.start_mark)
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        assert node is not None
        if isinstance(node, yaml.ScalarNode) and _SURROGATE.search(node.value):
            raise _refusal("a text must be Unicode, without lone surrogates", node.start_mark)
        self._count(node)
        return node

    def _count(self, node: yaml.Node) -> None:
        """Count the node's size with aliases expanded; its parts have been counted before."""
        size = 1
        if isinstance(node, yaml.CollectionNode):
            parts = node.value
            if isinstance(node, yaml.MappingNode):
                parts = [part for pair in node.value for part in pair]
            # A part that has not been counted is an alias of a node that contains it.
            if any(id(part) not in self._sizes for part in parts):
                raise _refusal("an alias must not stand inside of what it names", node.start_mark)
            size += sum(self._sizes[id(part)] for part in parts)
        if size > MAX_NODES:
            raise _refusal(
                f"it may stand for {MAX_NODES:,} keys and values, aliases written out",
                node.start_mark,
            )
        self._sizes[id(node)] = size

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if key_node.tag == _MERGE:
                if _MERGE in seen:
                    raise _refusal("key '<<' stands twice", key_node.start_mark)
                seen.add(_MERGE)
                continue
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str | int | float | bool | None):
                raise _refusal("a key must be a text", key_node.start_mark)
            if key in seen:
                raise _refusal(f"key {str(key)[:80]!r} stands twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    """Quotes texts that `_Loader` would read as numbers, such as a revision 12345e6."""

    def represent_text(self, text: str) -> yaml.ScalarNode:
        # PyYAML escapes these line ends, and so reads them back, only in double quotes.
        style = '"' if set(text) & set("\x85\u2028\u2029") else None
        return self.represent_scalar(_STR, text, style)


_Dumper.add_representer(str, _Dumper.represent_text)

for _side in (_Loader, _Dumper):
    _side.add_implicit_resolver(_INT, _WHOLE, list("-+0123456789"))
    _side.add_implicit_resolver(_FLOAT, _REAL, list("-+0123456789."))


def _refusal(rule: str, mark: Any) -> yaml.YAMLError:
    return yaml.YAMLError(f"{rule} (line {mark.line + 1}, column {mark.column + 1})")
