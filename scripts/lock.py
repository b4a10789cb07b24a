"""Write requirements/*.lock: exact versions of everything that requirements/*.in need, found by pip.

`python scripts/lock.py` keeps the versions locked now where they still fit; `--upgrade` takes the newest.
Each package stands in the first file that needs it, so the files install on top of one another.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / "requirements"
PARTS = ("base", "ros", "test", "docs")


def resolve(parts: tuple[str, ...], constraints: str) -> dict[str, str]:
    """Name -> version of all packages that the `.in` files of these parts need together."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write(constraints)
        file.flush()
        wanted = [word for part in parts for word in ("-r", str(FOLDER / f"{part}.in"))]
        command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet"]
        answer = subprocess.run(
            [*command, "--report", "-", "-c", file.name, *wanted], check=True, stdout=subprocess.PIPE
        )
    packages = [item["metadata"] for item in json.loads(answer.stdout)["install"]]
    # A local version ("2.13.0+cpu") names one build; without it the same lock fits every machine.
    return {package["name"].lower().replace("_", "-"): package["version"].partition("+")[0] for package in packages}


def locked() -> str:
    """The pins that stand now, as constraints."""
    files = [FOLDER / f"{part}.lock" for part in PARTS]
    return "\n".join(file.read_text(encoding="utf-8") for file in files if file.exists())


def write(part: str, packages: dict[str, str]) -> None:
    head = f"# Written by scripts/lock.py from requirements/{part}.in; change that file, not this one.\n"
    pins = "".join(f"{name}=={version}\n" for name, version in sorted(packages.items()))
    (FOLDER / f"{part}.lock").write_text(head + pins, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions")
    constraints = "" if parser.parse_args().upgrade else locked()
    print("resolving everything …", flush=True)
    everything = resolve(PARTS, constraints)
    pins = "\n".join(f"{name}=={version}" for name, version in everything.items())
    seen: set[str] = set()
    for count, part in enumerate(PARTS, start=1):
        print(f"resolving {part} …", flush=True)
        packages = everything if part == PARTS[-1] else resolve(PARTS[:count], pins)
        write(part, {name: version for name, version in packages.items() if name not in seen})
        seen.update(packages)


if __name__ == "__main__":
    main()
