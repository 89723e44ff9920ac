"""Writes a server's description with the names and numbers that this server knows, so that most requests that schemathesis
draws from it reach the model: narrow.py URL FILE."""

import json
import sys
import urllib.request


def read(url):
    with urllib.request.urlopen(url) as answer:
        return json.load(answer)


def main(url, file):
    api, models = read(f"{url}/openapi.json"), read(f"{url}/v1/models")["data"]
    schemas = api["components"]["schemas"]
    names = [model["id"] for model in models]
    for request in ("CompletionRequest", "ChatRequest"):
        schemas[request]["properties"]["model"] = {"enum": [*names, None]}
    texts = {"type": "string", "pattern": "^[A-Za-z ,.]{1,40}$"}
    tokens = {"type": "array", "items": {"type": "integer", "minimum": 1, "maximum": 200}, "minItems": 1, "maxItems": 20}
    lists = [{"type": "array", "items": one, "minItems": 1, "maxItems": 2} for one in (texts, tokens)]
    schemas["CompletionRequest"]["properties"]["prompt"] = {"oneOf": [texts, tokens, *lists]}
    schemas["Message"]["properties"]["role"] = {"enum": ["user"]}
    schemas["Message"]["properties"]["content"] = texts
    for request in ("CompletionRequest", "ChatRequest"):
        schemas[request]["properties"]["n"]["maximum"] = 4
        schemas[request]["properties"]["max_tokens"]["maximum"] = 32
    features = sum(dictionary["features"] for dictionary in models[0]["dictionaries"])
    name = {"type": "integer", "minimum": 0, "maximum": max(features - 1, 0)}
    dictionaries = [dictionary["name"] for dictionary in models[0]["dictionaries"]]
    for request in ("OverviewRequest", "SearchRequest", "FeatureRequest", "ReadRequest", "ActivationsRequest"):
        schemas[request]["properties"]["dictionary"] = {"enum": [*dictionaries, None]}
    for request in ("FeatureRequest", "ActivationsRequest"):
        schemas[request]["properties"]["feature"] = name
    schemas["ReadRequest"]["properties"]["prompt"] = texts
    schemas["ActivationsRequest"]["properties"]["texts"]["items"] = texts
    point = {"enum": ["blocks.0.hook_resid_post", "blocks.1.hook_resid_post"]}
    entry = schemas["InterventionObject"]["properties"]
    entry.update({"feature": name, "swap": name, "in": point, "token": {"enum": [" a", " the", " to"]}})
    entry["at"] = {"enum": ["prompt", "generated", "prompt[-1]", "generated[0..3]"]}
    entry["when"] = {"enum": ["along token ' a' in blocks.0.hook_resid_post>0.1n"]}
    schemas["Intervention"]["oneOf"][0] = {"enum": ["token ' the' in blocks.1.hook_resid_post:project-out"]}
    with open(file, "w") as out:
        json.dump(api, out)


if __name__ == "__main__":
    main(*sys.argv[1:])
