"""Pin what `constraints.txt` says with the hashes of the files: requirements.lock, for the service on Linux.

    python scripts/lock.py > requirements.lock
    pip install --require-hashes --no-deps --requirement requirements.lock    # what the Dockerfile does

Asks the package index through pip, which installs nothing, once for each Python; a file that was changed on the way, or
on the index, is refused by the second command.
"""

import json
import subprocess
import sys
import tempfile
import tomllib
from collections import defaultdict
from itertools import product
from pathlib import Path

ROOT = Path(__file__).parents[1]
#: What strangers reach. It is all on the index, while torch has builds of its own for each machine.
EXTRAS = ("serve",)
PYTHONS, MACHINES = ("3.11", "3.12", "3.13", "3.14"), ("x86_64", "aarch64")
GLIBC = ("2_5", "2_12", "2_17", "2_24", "2_26", "2_27", "2_28", "2_34")


def resolved(python: str, machine: str, needed: list[str]) -> list[dict]:
    """Return what pip would install for a Python on a machine."""
    tags = [word for glibc in GLIBC for word in ("--platform", f"manylinux_{glibc}_{machine}")]
    tags += ["--platform", f"manylinux2014_{machine}"]
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        words = ["install", "--dry-run", "--ignore-installed", "--quiet", "--disable-pip-version-check"]
        words += ["--only-binary=:all:", "--target", folder, "--implementation", "cp", "--python-version", python]
        words += ["--constraint", str(ROOT / "constraints.txt"), "--report", str(report), *tags, *needed]
        subprocess.run([sys.executable, "-m", "pip", *words], check=True, stdout=sys.stderr)
        return json.loads(report.read_text())["install"]


def main() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [*project["dependencies"], *(line for extra in EXTRAS for line in project["optional-dependencies"][extra])]
    hashes = defaultdict(set)
    for python, machine in product(PYTHONS, MACHINES):
        for one in resolved(python, machine, lines):
            about, file = one["metadata"], one["download_info"]["archive_info"]
            pinned = f"{about['name'].lower().replace('_', '-')}=={about['version']}"
            hashes[pinned].add(file["hashes"]["sha256"])
    where = f"Linux ({', '.join(MACHINES)}), Python {', '.join(PYTHONS)}"
    print(f"# Made by scripts/lock.py: pfvit[{','.join(EXTRAS)}] on {where}.")
    for pinned, several in sorted(hashes.items()):
        print(" \\\n".join([pinned, *(f"    --hash=sha256:{one}" for one in sorted(several))]))


if __name__ == "__main__":
    main()
