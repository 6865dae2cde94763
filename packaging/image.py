#!/usr/bin/env python3
"""Assembles an OCI image of one program, without a daemon and without a base image from a registry.

    packaging/image.py BINARY OUT [--sbom FILE] [--tag TAG] [--onnxruntime FILE]

OUT becomes an OCI image layout (`oci-layout`, `index.json`, `blobs/`), which skopeo, crane, oras and podman read:
`skopeo copy oci:OUT docker://registry.example.com/modelfleet-controller:0.1.0`.

The image has two layers. The lower one has what the binary is linked to and what a program of ours reads: the shared libraries, from
this machine's Debian packages, with the copyright files of these packages; the certificates of public authorities; a user. A
static binary needs no libraries, and gets none. For an agent that runs models on ONNX Runtime, its library is put beside them
(`--onnxruntime "$(device-agent/onnxruntime.sh)"`). The upper layer has the program, the licence and the SBOM. There is no shell. The
program runs as user 65532. The SBOM is also attached as a referrer of the image, where registries and scanners look for it.

The same inputs give the same digest: files are in order, owners are 0, and times are that of the last commit (SOURCE_DATE_EPOCH wins).
"""

import argparse
import gzip
import hashlib
import io
import json
import os
import pathlib
import re
import subprocess
import sys
import tarfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
USER = 65532
ONNXRUNTIME = "/usr/lib/modelfleet/libonnxruntime.so"
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
ARCHITECTURES = {62: "amd64", 183: "arm64"}  # e_machine of ELF
SOURCE = "https://github.com/modelfleet/modelfleet"


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"image.py: {' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def moment():
    given = os.environ.get("SOURCE_DATE_EPOCH")
    return int(given) if given else int(run("git", "-C", str(ROOT), "log", "-1", "--format=%ct"))


def libraries(binary):
    """The shared libraries that a binary is linked to, and its loader; none if it is static."""
    listed = subprocess.run(["ldd", str(binary)], capture_output=True, text=True)
    if "not a dynamic executable" in listed.stderr + listed.stdout or "statically linked" in listed.stdout:
        return []
    if listed.returncode or "not found" in listed.stdout:
        sys.exit(f"image.py: {binary}: {listed.stderr.strip() or listed.stdout.strip()}")
    found = re.findall(r"^\s+(?:\S+ => )?(/\S+) \(0x", listed.stdout, re.M)
    # Loaded at run time, for host names: before glibc 2.34 these are not part of libc itself.
    for name in ("libnss_dns.so.2", "libnss_files.so.2", "libresolv.so.2"):
        found += [str(pathlib.Path(path).with_name(name)) for path in found if "/libc.so" in path]
    return sorted({path for path in found if pathlib.Path(path).exists()})


def packages(paths):
    """The Debian packages that files belong to, with their versions."""
    found = {}
    for path in paths:
        # Packages call the folders /lib..., this machine may call them /usr/lib...
        for name in (path, path.removeprefix("/usr"), os.path.realpath(path)):
            owner = subprocess.run(["dpkg", "-S", name], capture_output=True, text=True)
            if owner.returncode == 0:
                package = owner.stdout.split(": ")[0]
                found[package.split(":")[0]] = run("dpkg-query", "-W", "-f", "${Version}", package)
                break
        else:
            sys.exit(f"image.py: {path} is of no Debian package, so its licence and version are unknown")
    return dict(sorted(found.items()))


class Layer:
    """A tar archive whose bytes depend on nothing but its files."""

    def __init__(self, when):
        self.when, self.entries = when, {}

    def folder(self, name, mode=0o755):
        self.entries.setdefault(name, (mode, None))

    def file(self, name, data, mode=0o644):
        for parent in reversed(pathlib.PurePosixPath(name).parents):
            if str(parent) != ".":
                self.folder(str(parent))
        self.entries[name] = (mode, data)

    def bytes(self):
        plain = io.BytesIO()
        with tarfile.open(fileobj=plain, mode="w", format=tarfile.USTAR_FORMAT) as archive:
            for name, (mode, data) in sorted(self.entries.items()):
                info = tarfile.TarInfo(name)
                info.mode, info.mtime, info.uid, info.gid = mode, self.when, 0, 0
                if data is None:
                    info.type = tarfile.DIRTYPE
                    archive.addfile(info)
                else:
                    info.size = len(data)
                    archive.addfile(info, io.BytesIO(data))
        return plain.getvalue()


class Layout:
    """An OCI image layout."""

    def __init__(self, out):
        self.out = pathlib.Path(out)
        (self.out / "blobs/sha256").mkdir(parents=True)
        (self.out / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')

    def blob(self, data, media_type):
        digest = hashlib.sha256(data).hexdigest()
        (self.out / "blobs/sha256" / digest).write_bytes(data)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}

    def json(self, value, media_type):
        return self.blob(json.dumps(value, sort_keys=True, separators=(",", ":")).encode(), media_type)


def base_layer(binary, onnxruntime, when):
    layer = Layer(when)
    linked = libraries(binary)
    if onnxruntime:
        linked = sorted({*linked, *libraries(onnxruntime)})
        layer.file(ONNXRUNTIME.lstrip("/"), onnxruntime.resolve().read_bytes(), 0o755)
    owners = packages(linked)
    for path in linked:
        layer.file(path.lstrip("/"), pathlib.Path(path).resolve().read_bytes(), 0o755)
    for package in owners:
        copyright_file = pathlib.Path(f"/usr/share/doc/{package}/copyright")
        layer.file(f"usr/share/doc/{package}/copyright", copyright_file.read_bytes())
    layer.file(CERTIFICATES.lstrip("/"), pathlib.Path(CERTIFICATES).read_bytes())
    owners |= packages(["/usr/sbin/update-ca-certificates"])
    layer.file("etc/passwd", f"root:x:0:0::/:/sbin/nologin\nmodelfleet:x:{USER}:{USER}::/:/sbin/nologin\n".encode())
    layer.file("etc/group", f"root:x:0:\nmodelfleet:x:{USER}:\n".encode())
    layer.file("etc/nsswitch.conf", b"hosts: files dns\n")
    layer.folder("tmp", 0o1777)
    return layer, owners


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("binary", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--sbom", type=pathlib.Path, help="CycloneDX of the program")
    parser.add_argument("--tag", default="latest", help="name of the image in the layout")
    parser.add_argument("--onnxruntime", type=pathlib.Path, help="library of ONNX Runtime")
    given = parser.parse_args()
    if given.out.exists():
        sys.exit(f"image.py: {given.out} is there already")
    binary = given.binary.read_bytes()
    if binary[:4] != b"\x7fELF":
        sys.exit(f"image.py: {given.binary} is not a Linux program")
    machine = int.from_bytes(binary[18:20], "little")
    if machine not in ARCHITECTURES:
        sys.exit(f"image.py: {given.binary} is for a machine of the ELF number {machine}")
    name, when = given.binary.name, moment()
    created = run("date", "-u", "-d", f"@{when}", "+%Y-%m-%dT%H:%M:%SZ").strip()

    lower, owners = base_layer(given.binary, given.onnxruntime, when)
    upper = Layer(when)
    upper.file(f"usr/bin/{name}", binary, 0o755)
    upper.file("usr/share/doc/modelfleet/LICENSE", (ROOT / "LICENSE").read_bytes())
    if given.sbom:
        upper.file(f"usr/share/doc/modelfleet/{name}.cdx.json", given.sbom.read_bytes())

    layout = Layout(given.out)
    layers, plain_digests = [], []
    for layer in (lower, upper):
        plain = layer.bytes()
        plain_digests.append("sha256:" + hashlib.sha256(plain).hexdigest())
        packed = gzip.compress(plain, 6, mtime=0)
        layers.append(layout.blob(packed, "application/vnd.oci.image.layer.v1.tar+gzip"))
    config = layout.json(
        {
            "architecture": ARCHITECTURES[machine],
            "os": "linux",
            "created": created,
            "config": {
                "User": f"{USER}:{USER}",
                "Entrypoint": [f"/usr/bin/{name}"],
                "Env": ["PATH=/usr/bin", f"SSL_CERT_FILE={CERTIFICATES}"]
                + ([f"MODELFLEET_ONNXRUNTIME={ONNXRUNTIME}"] if given.onnxruntime else []),
                "WorkingDir": "/",
                "Labels": {
                    "org.opencontainers.image.title": name,
                    "org.opencontainers.image.licenses": "Apache-2.0",
                    "org.opencontainers.image.source": SOURCE,
                    "io.modelfleet.base": " ".join(f"{package}={version}" for package, version in owners.items()),
                },
            },
            "rootfs": {"type": "layers", "diff_ids": plain_digests},
            "history": [
                {"created": created, "created_by": "packaging/image.py: libraries and certificates"},
                {"created": created, "created_by": f"packaging/image.py: {name}"},
            ],
        },
        "application/vnd.oci.image.config.v1+json",
    )
    manifest_type = "application/vnd.oci.image.manifest.v1+json"
    manifest = {"schemaVersion": 2, "mediaType": manifest_type, "config": config, "layers": layers}
    image = layout.json(manifest, manifest_type)
    listed = [image | {"annotations": {"org.opencontainers.image.ref.name": given.tag},
                       "platform": {"architecture": ARCHITECTURES[machine], "os": "linux"}}]
    if given.sbom:
        sbom_type = "application/vnd.cyclonedx+json"
        empty = layout.blob(b"{}", "application/vnd.oci.empty.v1+json")
        referrer = {
            "schemaVersion": 2, "mediaType": manifest_type, "artifactType": sbom_type, "config": empty, "subject": image,
            "layers": [layout.blob(given.sbom.read_bytes(), sbom_type)],
        }
        listed.append(layout.json(referrer, manifest_type) | {"artifactType": sbom_type})
    index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": listed}
    (given.out / "index.json").write_text(json.dumps(index, sort_keys=True))
    print(image["digest"])


if __name__ == "__main__":
    main()
