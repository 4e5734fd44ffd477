"""What an installed pfvit consists of: every package that it needs, with version and licence.

    python scripts/sbom.py [--extras serve,video] [--table] > pfvit.cdx.json

Prints a software bill of materials in CycloneDX 1.6 (JSON) of this environment, from what the installed packages say of
themselves; with --table their names and licences in Markdown, as docs/licences.md has them. Nothing is fetched.
"""

import argparse
import json
import sys
import tomllib
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
#: Extras that people install who use pfvit; the others are for those who work on it.
EXTRAS = ("batch", "heic", "report", "serve", "train", "video")
#: What wheels carry besides what they say; found in their folders of libraries (NAME.libs).
CARRIED = {
    "av": "carries FFmpeg with x264 and x265: GPL-2.0-or-later",
    "pi-heif": "carries libheif and libde265: LGPL-3.0-or-later",
}
LONGEST = 60  # of a licence's name; some packages give the whole text instead
UNKNOWN = "not said"


def needed(extras: Iterable[str]) -> dict[str, set[str]]:
    """Return every package that pfvit with these extras needs here, and what each of them needs; '' is pfvit."""
    optional = PROJECT["optional-dependencies"]
    lines = [*PROJECT["dependencies"], *(line for extra in extras for line in optional[extra])]
    waiting = [("", Requirement(line), frozenset[str]()) for line in lines]
    found: dict[str, set[str]] = {"": set()}
    seen = set()
    while waiting:
        parent, requirement, given = waiting.pop()
        environments = [{"extra": extra} for extra in given or {""}]
        if requirement.marker and not any(requirement.marker.evaluate(one) for one in environments):
            continue
        name = canonicalize_name(requirement.name)
        try:
            inner = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            print(f"{name} is not installed and is left out", file=sys.stderr)
            continue
        found[parent].add(name)
        found.setdefault(name, set())
        wanted = frozenset(requirement.extras)
        if (name, wanted) not in seen:
            seen.add((name, wanted))
            waiting += [(name, Requirement(line), wanted) for line in inner]
    return found


def licence(name: str) -> str:
    """Return the licence that a package gives, as an SPDX expression where it has one."""
    about = metadata.metadata(name)
    if expression := about.get("License-Expression"):
        return expression
    classes = [line.rpartition("::")[2].strip() for line in about.get_all("Classifier") or [] if "License ::" in line]
    said = (about.get("License") or "").strip()
    if classes and (not said or len(said) > LONGEST or "\n" in said):
        return " or ".join(classes)
    return said.partition("\n")[0][:LONGEST] if said and said.upper() != "UNKNOWN" else UNKNOWN


def bill(extras: Iterable[str]) -> dict[str, object]:
    """Return the bill of materials."""
    packages = needed(extras)
    references = {name: f"pkg:pypi/{name}@{metadata.version(name)}" for name in packages if name}
    own = f"pkg:pypi/{PROJECT['name']}@{PROJECT['version']}"
    components = []
    for name in sorted(references):
        expression = metadata.metadata(name).get("License-Expression")
        one = {"expression": expression} if expression else {"license": {"name": licence(name)}}
        component = {"type": "library", "name": name, "version": metadata.version(name), "licenses": [one]}
        component |= {"purl": references[name], "bom-ref": references[name]}
        if name in CARRIED:
            component["description"] = CARRIED[name]
        components.append(component)
    dependencies = [
        {"ref": references.get(name, own), "dependsOn": sorted(references[one] for one in inner)}
        for name, inner in sorted(packages.items())
    ]
    about = {"type": "application", "name": PROJECT["name"], "version": PROJECT["version"], "purl": own, "bom-ref": own}
    about |= {"licenses": [{"expression": PROJECT["license"]}]}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": about},
        "components": components,
        "dependencies": dependencies,
    }


def table(extras: Iterable[str]) -> str:
    """Return names and licences in Markdown; which extra brings a package, if it is not in the base install."""
    base, wanted = needed(()), {extra: needed((extra,)) for extra in extras}
    lines = ["| package | licence | comes with |", "|---|---|---|"]
    for name in sorted({name for one in (base, *wanted.values()) for name in one if name}):
        by = "" if name in base else ", ".join(f"`{extra}`" for extra, one in wanted.items() if name in one)
        more = f"; {CARRIED[name]}" if name in CARRIED else ""
        lines.append(f"| {name} | {licence(name)}{more} | {by or 'the base install'} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--extras", default=",".join(EXTRAS))
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    extras = [extra for extra in options.extras.split(",") if extra]
    print(table(extras) if options.table else json.dumps(bill(extras), indent=1))


if __name__ == "__main__":
    main()
