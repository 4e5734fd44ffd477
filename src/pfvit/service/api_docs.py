"""`/docs`: the OpenAPI document as one plain page, without a script and without a request to anywhere."""

import json
import re
from html import escape
from typing import Any

from pfvit.service.errors import MEDIA_TYPE as PROBLEM

STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8882; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1.5rem; }
h2 { margin-top: 2.5rem; border-top: 1px solid var(--line); padding-top: 1rem; }
code, pre { font: 0.9em/1.45 ui-monospace, monospace; }
pre { background: var(--soft); padding: 0.8rem; overflow-x: auto; border-radius: 0.4rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: 0.3rem 0.8rem 0.3rem 0; border-bottom: 1px solid var(--line); }
@media (max-width: 40rem) { table { display: block; overflow-x: auto; } }
.method { font-weight: 700; margin-right: 0.5rem; }
"""


def page(schema: dict[str, Any], address: str) -> str:
    """Return the page as HTML, with calls to the service's address; its style is at `/docs.css`."""
    info = schema["info"]
    parts = [
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">',
        f'<title>{escape(info["title"])} API</title><link rel="icon" href="icon.svg" type="image/svg+xml">',
        '<link rel="stylesheet" href="docs.css"><main>',
        f"<h1>{escape(info['title'])} API, version {escape(info['version'])}</h1>",
        *(f"<p>{_text(line)}</p>" for line in info.get("description", "").split("\n\n")),
        '<p>The same for machines: <a href="openapi.json">openapi.json</a> (OpenAPI 3.1).</p>',
    ]
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            parts += _operation(schema, address + path, path, method, operation)
    return "".join([*parts, "</main></html>"])


def _operation(schema: dict[str, Any], address: str, path: str, method: str, operation: dict[str, Any]) -> list[str]:
    parts = [
        f'<h2 id="{escape(operation["operationId"])}"><span class="method">{method.upper()}</span>'
        f"<code>{escape(path)}</code></h2><p>{escape(operation.get('description', ''))}</p>"
    ]
    if "parameters" in operation:
        parts.append("<table><tr><th>parameter</th><th>values</th><th>default</th><th>meaning</th></tr>")
        for one in operation["parameters"]:
            values = _values(one["schema"])
            default = json.dumps(one["schema"].get("default"))
            cells = (f"<code>{escape(one['name'])}</code>", values, escape(default), escape(one.get("description", "")))
            parts.append(f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>")
        parts.append("</table>")
    if "requestBody" in operation:
        kinds = ", ".join(f"<code>{escape(kind)}</code>" for kind in operation["requestBody"]["content"])
        parts.append(f"<p>Body: {kinds}. {_text(operation['requestBody']['description'])}</p>")
        parts.append(f"<pre>{escape(_call(address, method))}</pre>")
    parts.append("<table><tr><th>status</th><th>answer</th></tr>")
    for status, answer in operation["responses"].items():
        kinds = ", ".join(f"<code>{escape(kind)}</code>" for kind in answer.get("content", {}) if kind != PROBLEM)
        parts.append(f"<tr><td>{status}</td><td>{_text(answer['description'])} {kinds}</td></tr>")
    parts.append("</table>")
    shape = operation["responses"].get("200", {}).get("content", {}).get("application/json", {}).get("schema")
    if shape:
        parts.append(f"<pre>{escape(json.dumps(_example(schema, shape), indent=2))}</pre>")
    return parts


def _text(text: str) -> str:
    """Return a text with `code` as HTML."""
    return re.sub("`([^`]*)`", r"<code>\1</code>", escape(text))


def _call(address: str, method: str) -> str:
    file = " --output calm.png" if address.endswith("poker") else ""
    return f"curl -X {method.upper()} -H 'Content-Type: image/jpeg' --data-binary @photo.jpg{file} {address}"


def _values(shape: dict[str, Any]) -> str:
    if "anyOf" in shape:
        return " or ".join(_values(one) for one in shape["anyOf"])
    if "enum" in shape:
        return escape(", ".join(map(str, shape["enum"])))
    if "const" in shape:
        return escape(str(shape["const"]))
    bounds = f" from {shape['minimum']:g}" if "minimum" in shape else ""
    bounds += f" to {shape['maximum']:g}" if "maximum" in shape else ""
    return escape(shape.get("type", "any") + bounds)


def _example(schema: dict[str, Any], shape: dict[str, Any]) -> Any:
    """Return an example of a shape, made of the examples of its parts."""
    if "$ref" in shape:
        return _example(schema, schema["components"]["schemas"][shape["$ref"].rpartition("/")[2]])
    if "examples" in shape:
        return shape["examples"][0]
    if "properties" in shape:
        return {name: _example(schema, one) for name, one in shape["properties"].items()}
    if shape.get("type") == "array":
        return [_example(schema, shape["items"])]
    if "anyOf" in shape:
        return _example(schema, shape["anyOf"][0])
    return {"string": "...", "integer": 0, "number": 0.0, "boolean": False, "object": {}}.get(shape.get("type", ""))
