"""JSON Schemas of study, profile and task files, with which editors complete and check them.

`python -m tune_distill.spec.schema` writes them beside the shipped studies, whose first lines
point to them. They are looser than the models, which also check rules across fields.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tune_distill.spec.domains import Cases
from tune_distill.spec.profile import Profile, field_paths
from tune_distill.spec.study import Study
from tune_distill.spec.task import TaskDescription
from tune_distill.spec.yaml_files import search_spaces_dir

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_DOMAINS = ("Values", "Uniform", "LogUniform", "IntRange", "Cases")
_FIELDS: dict[str, Any] = {"$ref": "#/$defs/Fields"}


def profile_schema() -> dict[str, Any]:
    """Return the schema of a profile file."""
    return {"$schema": _DIALECT, **Profile.model_json_schema()}


def task_schema() -> dict[str, Any]:
    """The schema of a task file."""
    return {"$schema": _DIALECT, **TaskDescription.model_json_schema()}


def study_schema() -> dict[str, Any]:
    """Return the schema of a study file, with the profile's rules for varied and set fields."""
    schema = Study.model_json_schema()
    definitions = schema["$defs"] | Profile.model_json_schema()["$defs"]
    definitions["Fields"] = {
        "description": "Dotted profile fields and their values",
        "type": "object",
        "properties": {path: _field(path) for path in field_paths()},
        "additionalProperties": False,
    }
    for name in _DOMAINS:
        # `type` has a default in the models, but a file needs it to say which domain it is.
        definitions[name]["required"] = ["type", *definitions[name].get("required", ())]
    cases = definitions[Cases.__name__]["properties"]["cases"]
    cases["additionalProperties"] = {**_FIELDS, "minProperties": 1}
    properties = schema["properties"]
    del properties["overrides"]["additionalProperties"]
    properties["overrides"] |= _FIELDS
    properties["profile_overrides"]["additionalProperties"] = _FIELDS
    # A name that is not a field is the name of cases: a plain word.
    names = {"anyOf": [{"enum": list(field_paths())}, {"pattern": r"^[A-Za-z_][A-Za-z0-9_]*$"}]}
    properties["vary"] |= {
        "properties": {path: _domain_of(path) for path in field_paths()},
        "propertyNames": names,
        "additionalProperties": {"$ref": "#/$defs/Cases"},
    }
    properties["baseline"] |= {
        "properties": {path: _field(path) for path in field_paths()},
        "propertyNames": names,
        "additionalProperties": {"type": "string"},
    }
    return {"$schema": _DIALECT, **schema, "$defs": definitions}


def schema_texts() -> dict[Path, str]:
    """Return the content of each file that `main` writes."""
    folder = search_spaces_dir()
    schemas = {"study": study_schema(), "profile": profile_schema(), "task": task_schema()}
    return {
        folder / f"{name}.schema.json": json.dumps(schema, indent=2) + "\n"
        for name, schema in schemas.items()
    }


def main() -> None:
    """Write the schema files."""
    for path, text in schema_texts().items():
        path.write_text(text, encoding="utf-8")
        print(f"wrote {path}")


def _field(path: str) -> dict[str, Any]:
    section, name = path.split(".")
    return {"$ref": f"#/$defs/{_section(section)}/properties/{name}"}


def _section(section: str) -> str:
    """Return the name of the model of a profile's section."""
    model = Profile.model_fields[section].annotation
    assert isinstance(model, type)
    return model.__name__


def _domain_of(path: str) -> dict[str, Any]:
    """Return the schema of the field's domain: a list of its values, or any domain but cases."""
    listed = {"type": "array", "items": _field(path), "minItems": 1, "uniqueItems": True}
    ranges = [{"$ref": f"#/$defs/{name}"} for name in _DOMAINS if name != "Cases"]
    return {"anyOf": [listed, *ranges]}


if __name__ == "__main__":
    main()
