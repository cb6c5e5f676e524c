"""Checks a description by itself: it is OpenAPI, and each example is what its schema says."""

from jsonschema import Draft202012Validator
from openapi_spec_validator import validate
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

NAME = "urn:document"


def check(document):
    """Fails on the first fault; gives how many examples there are."""
    validate(document)
    registry = Registry().with_resource(NAME, Resource(document, DRAFT202012))
    examples = list(find_examples(document))
    for schema, example in examples:
        Draft202012Validator(absolute(schema), registry=registry).validate(example)
    return len(examples)


def find_examples(node):
    """Every example below a node, with the schema beside it."""
    if isinstance(node, list):
        for item in node:
            yield from find_examples(item)
    if not isinstance(node, dict):
        return
    if isinstance(node.get("schema"), dict):
        if "example" in node:
            yield node["schema"], node["example"]
        for example in node.get("examples", {}).values():
            yield node["schema"], example["value"]
    for item in node.values():
        yield from find_examples(item)


def absolute(schema):
    """The same with references that hold outside of the document."""
    if isinstance(schema, list):
        return [absolute(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: NAME + value if key == "$ref" else absolute(value) for key, value in schema.items()
    }
