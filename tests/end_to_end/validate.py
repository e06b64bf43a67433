#!/usr/bin/python3
"""Holds messages against the schemas of config/schemas: validate.py SCHEMAS_DIR < JSON_LINES. Says the first that fails."""
import json
import pathlib
import sys

import jsonschema

schemas = {}
for path in pathlib.Path(sys.argv[1]).glob("*.schema.json"):
    schema = json.loads(path.read_text())
    schemas[schema["properties"]["schema"]["const"]] = jsonschema.Draft202012Validator(schema)
count = 0
for line in sys.stdin:
    message = json.loads(line)
    error = next(schemas[message["schema"]].iter_errors(message), None)
    if error is not None:
        sys.exit(f"{error.json_path}: {error.message}\n{line}")
    count += 1
print(count)
