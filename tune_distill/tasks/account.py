"""A summary of what was read from a data source, in one line."""

from __future__ import annotations

from tune_distill.tasks.corpus import Corpus
from tune_distill.tasks.sources import RawCorpus, SplitRead

_SHOWN_FILES = 6


def account(source: str, raw: RawCorpus, corpus: Corpus) -> str:
    """Return files, rows, dropped rows and repeated examples of each split, and examples in both.

    The text is empty for the embedded corpus, which is not read from files.
    """
    digests = {
        "train": _digests(corpus.train_digests),
        "validation": _digests(corpus.validation_digests),
    }
    parts = [_split(split, read, digests[split]) for split, read in raw.read.items()]
    if not parts:
        return ""
    known = set(digests["train"])
    shared = sum(digest in known for digest in digests["validation"])
    if shared:
        parts.append(f"{_counted(shared, 'validation example')} also in train")
    return f"{source}: {'; '.join(parts)}"


def _split(split: str, read: SplitRead, digests: list[bytes]) -> str:
    text = f"{split} {_counted(sum(read.rows_of.values()), 'row')} of {_files(read.rows_of)}"
    if read.dropped:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in read.dropped.items())
        text += f", {sum(read.dropped.values()):,} dropped ({reasons})"
    if identical := len(digests) - len(set(digests)):
        text += f", {identical:,} identical to an earlier one"
    return text


def _files(rows_of: dict[str, int]) -> str:
    if len(rows_of) == 1:
        return next(iter(rows_of))
    names = [f"{name} ({count:,})" for name, count in rows_of.items()]
    if len(names) > _SHOWN_FILES:
        return f"{len(names)} files, {names[0]} to {names[-1]}"
    return " and ".join([", ".join(names[:-1]), names[-1]])


def _digests(joined: bytes) -> list[bytes]:
    return [joined[start : start + 32] for start in range(0, len(joined), 32)]


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
