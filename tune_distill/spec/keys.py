"""Identities of runs and evaluations (what a result depends on), and their SHA-256 as keys.

The same key means the same numbers on one kind of device. So a key contains everything else that
changes them, and nothing that does not: no paths, device counts or times, and no field without
effect. A run key contains no decode settings.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tune_distill.spec.metrics import metric_versions
from tune_distill.spec.profile import Profile, neutral_values

RECIPE_VERSION = 4
"""Raise it when a change of the training code changes results; stored runs are then not reused."""

EVALUATION_VERSION = 4
"""Raise it when a change of decoding or scoring changes results."""

SIMULATOR_VERSION = 2
"""Raise it when features, fit or file format of the simulator for faithfulness change."""


@dataclass(frozen=True)
class TaskIdentity:
    """Digests (SHA-256, hex) of how a task writes its texts, and how it reads answers."""

    writing: str
    reading: str


ESNLI = TaskIdentity(
    writing="9bfb640e30ae0eefe33809d1677643cec349cd7544da2be2d135adfc06074b76",
    reading="e470d222531e0721c80a5d9184a95b6377a58bbd82370fc96662324e8c9eed7b",
)
"""e-SNLI's identity. Keys do not name it: it was the only task once, and old keys stay valid."""


@dataclass(frozen=True)
class DataIdentity:
    """Digests (SHA-256, hex) and sizes of the examples that one trial sees, and their task."""

    train_digest: str
    num_train: int
    validation_digest: str
    num_validation: int
    pool_digest: str
    """The training pool before its fraction is taken; the simulator is fitted on the pool."""
    task: TaskIdentity = ESNLI


# Shared, because json.dumps makes an encoder for each call with options.
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)


def canonical_json(value: Any) -> str:
    """Return the canonical JSON text of `value`: sorted keys, no spaces, no NaN."""
    return _ENCODER.encode(value)


def key_of(identity: Mapping[str, Any]) -> str:
    """Return the SHA-256 of the identity's canonical JSON, as 64 hex digits."""
    return hashlib.sha256(canonical_json(identity).encode()).hexdigest()


def run_identity(
    profile: Profile, seed: int, student: Mapping[str, str], data: DataIdentity
) -> dict[str, Any]:
    """Return everything that the weights and losses of a run depend on."""
    return {
        "recipe_version": RECIPE_VERSION,
        "student": {**student, **profile.student.in_effect()},
        "data": {
            "train_digest": data.train_digest,
            "num_train": data.num_train,
            **({} if data.task.writing == ESNLI.writing else {"task": data.task.writing}),
            **profile.data.in_effect(),
        },
        "train": profile.train.in_effect(),
        "seed": seed,
    }


def evaluation_identity(
    run_key: str, profile: Profile, data: DataIdentity, encoder: str | None
) -> dict[str, Any]:
    """Return everything that predictions and metrics depend on besides the run.

    `encoder` is the digest of the files of BERTScore's encoder, if the profile names one.
    """
    return {
        "evaluation_version": EVALUATION_VERSION,
        "run_key": run_key,
        "decode": profile.decode.in_effect(),
        "validation": {
            "digest": data.validation_digest,
            "num_validation": data.num_validation,
            **({} if data.task.reading == ESNLI.reading else {"task": data.task.reading}),
        },
        "metrics": {
            **profile.metrics.in_effect(),
            **({} if encoder is None else {"bertscore_encoder": encoder}),
            "simulator_pool": data.pool_digest,
            "simulator_version": SIMULATOR_VERSION,
            **metric_versions(),
        },
    }


def flatten(identity: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the identity as a flat dictionary with dotted keys."""
    flat: dict[str, Any] = {}
    for name, value in identity.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


@dataclass(frozen=True)
class Difference:
    """A field in which the wanted identity differs from a stored one."""

    field: str
    wanted: Any
    stored: Any


def differences(wanted: Mapping[str, Any], stored: Mapping[str, Any]) -> list[Difference]:
    """Return the fields that differ, in the wanted identity's order, then those only stored.

    A field that an identity leaves out has its neutral value there, if it has one.
    """
    left, right = flatten(wanted), flatten(stored)
    return [
        Difference(
            name,
            left.get(name, neutral_values().get(name)),
            right.get(name, neutral_values().get(name)),
        )
        for name in dict.fromkeys((*left, *right))
        # A field that is missing differs from one that is null.
        if (name in left, left.get(name)) != (name in right, right.get(name))
    ]
