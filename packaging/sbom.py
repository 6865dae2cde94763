#!/usr/bin/env python3
"""Writes a software bill of materials (CycloneDX 1.6, JSON) for each program that ships, from Cargo's own resolution.

    packaging/sbom.py OUT [--target TRIPLE]

One file for each program: what is linked into it for that target, with versions, licences, checksums and who needs whom.
Crates that only tests, build scripts and macros need are left out. The features are those of the whole workspace, as
`cargo build --workspace` has them. Nothing is fetched; the time of the files is that of the last commit, so that the same
source gives the same bytes.
"""

import argparse
import json
import os
import pathlib
import re
import subprocess
import uuid

ROOT = pathlib.Path(__file__).resolve().parent.parent
# Package and the program that it ships.
PROGRAMS = {
    "modelfleet-controller": "modelfleet-controller",
    "modelfleet-agent": "modelfleet-agent",
    "modelfleet-cli": "kubectl-modelfleet",
}


def run(*command):
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def checksums():
    """Checksum of each crate of a registry, by name and version, as Cargo.lock has it."""
    lock = (ROOT / "Cargo.lock").read_text()
    found = {}
    for block in lock.split("[[package]]")[1:]:
        fields = dict(re.findall(r'^(name|version|checksum) = "([^"]+)"', block, re.M))
        if "checksum" in fields:
            found[fields["name"], fields["version"]] = fields["checksum"]
    return found


def linked(resolve, start, macros):
    """The packages that are linked into `start`, each with those that it needs; macros work when it is built."""
    nodes = {node["id"]: node for node in resolve["nodes"]}
    seen, waiting = {}, [start]
    while waiting:
        package = waiting.pop()
        if package in seen:
            continue
        needs = [
            dependency["pkg"]
            for dependency in nodes[package]["deps"]
            if dependency["pkg"] not in macros and any(kind["kind"] is None for kind in dependency["dep_kinds"])
        ]
        seen[package] = sorted(needs)
        waiting.extend(needs)
    return seen


def reference(package):
    return f"pkg:cargo/{package['name']}@{package['version']}"


def component(package, checksum, kind="library"):
    entry = {
        "type": kind,
        "bom-ref": reference(package),
        "name": package["name"],
        "version": package["version"],
        "purl": reference(package),
    }
    if package.get("license"):
        # The old way of Cargo to write "or".
        entry["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
    if checksum:
        entry["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    if package.get("repository"):
        entry["externalReferences"] = [{"type": "vcs", "url": package["repository"]}]
    return entry


def bill(metadata, package, program, known, time):
    packages = {entry["id"]: entry for entry in metadata["packages"]}
    macros = {one for one, of in packages.items() if any("proc-macro" in target["kind"] for target in of["targets"])}
    needs = linked(metadata["resolve"], package["id"], macros)
    checksum = lambda entry: known.get((entry["name"], entry["version"]))
    others = sorted((packages[one] for one in needs if one != package["id"]), key=reference)
    body = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": time,
            "component": {**component(package, None, "application"), "name": program},
        },
        "components": [component(entry, checksum(entry)) for entry in others],
        "dependencies": sorted(
            (
                {"ref": reference(packages[one]), "dependsOn": sorted({reference(packages[to]) for to in of})}
                for one, of in needs.items()
            ),
            key=lambda entry: entry["ref"],
        ),
    }
    serial = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(body, sort_keys=True))
    return {"serialNumber": f"urn:uuid:{serial}", **body}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=pathlib.Path)
    host = re.search(r"^host: (.*)$", run("rustc", "-vV"), re.M).group(1)
    parser.add_argument("--target", default=host)
    arguments = parser.parse_args()
    command = ["cargo", "metadata", "--format-version", "1", "--locked", "--offline"]
    metadata = json.loads(run(*command, "--filter-platform", arguments.target))
    # In UTC, with the second as the finest.
    os.environ["TZ"] = "UTC"
    time = run("git", "log", "-1", "--format=%cd", "--date=format-local:%Y-%m-%dT%H:%M:%SZ").strip()
    known = checksums()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name, program in PROGRAMS.items():
        (package,) = (entry for entry in metadata["packages"] if entry["name"] == name)
        text = json.dumps(bill(metadata, package, program, known, time), indent=1) + "\n"
        path = arguments.out / f"{program}.cdx.json"
        path.write_text(text)
        print(f"{path}: {text.count(chr(34) + 'purl' + chr(34)) - 1} crates")


if __name__ == "__main__":
    main()
