"""The kernel of the virtual machine: Debian's, unpacked and never installed, with the modules that the tests want."""

import lzma
import os
import re
import shutil
import subprocess
import tarfile
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CACHE = os.path.join(os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target")), "vm")
# The package that depends on the newest kernel of this release.
NEWEST = "linux-image-amd64"
# The root over 9p and what is laid over it; then what tests make networks of. Each with what it depends on.
MODULES = ("virtio_pci", "9pnet_virtio", "9p", "overlay", "veth", "8021q", "virtio_net")
WHERE_MODULES_ARE = re.compile(r"/kernel/(fs|net|lib|drivers/virtio|drivers/net/[^/]+\.ko)")
MODULE = re.compile(r"/([^/]+)\.ko(\.xz)?$")
PROGRAMS = {"qemu-system-x86_64": "qemu-system-x86", "busybox": "busybox-static", "dpkg-deb": "dpkg"}


class NoMachine(Exception):
    """Why there is none to be had, as a sentence."""


def programs():
    """The programs that make a machine, by apt-get where they are missing."""
    if os.uname().machine != "x86_64":
        raise NoMachine(f"no virtual machine is made on {os.uname().machine}: only x86_64 is known here")
    missing = [package for program, package in PROGRAMS.items() if not shutil.which(program)]
    if not missing:
        return
    if os.environ.get("STROWGER_NO_INSTALL") or os.geteuid() != 0 or not shutil.which("apt-get"):
        raise NoMachine(f"a virtual machine needs {', '.join(missing)} (Debian packages; to install them: root and apt-get)")
    apt("update")
    apt("install", "-y", "--no-install-recommends", *missing)


def apt(*words):
    """What apt-get does; its last line is the reason where it fails."""
    done = subprocess.run(["apt-get", "-qq", *words], capture_output=True, text=True, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"})
    if done.returncode != 0:
        raise NoMachine(f"apt-get {words[0]} failed: {(done.stderr.strip().splitlines() or ['no word'])[-1]}")


def files():
    """The kernel's image, and the modules' files in the order in which they can be loaded."""
    name = newest_kernel()
    if not name and not os.environ.get("STROWGER_NO_INSTALL") and os.geteuid() == 0:
        apt("update")
        name = newest_kernel()
    if not name:
        raise NoMachine(f"apt-cache knows no package {NEWEST}: a virtual machine needs Debian's sources and `apt-get update`")
    folder = os.path.join(CACHE, name)
    if not os.path.exists(folder):
        with tempfile.TemporaryDirectory(prefix="strowger-vm-") as scratch:
            fetch = subprocess.run(["apt-get", "-qq", "download", name], cwd=scratch, capture_output=True, text=True)
            packages = [file for file in os.listdir(scratch) if file.endswith(".deb")]
            if fetch.returncode != 0 or not packages:
                raise NoMachine(f"the package {name} cannot be fetched: {fetch.stderr.strip()}")
            unpack(os.path.join(scratch, packages[0]), folder)
    modules = os.path.join(folder, "modules")
    return os.path.join(folder, "vmlinuz"), [os.path.join(modules, file) for file in sorted(os.listdir(modules))]


def newest_kernel():
    """The package that holds the kernel."""
    if not shutil.which("apt-cache"):
        raise NoMachine("a virtual machine needs Debian's kernel, and there is no apt-get here to fetch it with")
    said = subprocess.run(["apt-cache", "depends", NEWEST], capture_output=True, text=True).stdout
    found = re.search(r"Depends: (linux-image-[0-9]\S+)", said)
    return found and found.group(1)


def unpack(package, folder):
    """Takes the kernel and the modules wanted out of its package."""
    image, found = None, {}
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", package], stdout=subprocess.PIPE) as stream:
        with tarfile.open(mode="r|", fileobj=stream.stdout) as whole:
            for file in whole:
                if re.search(r"/boot/vmlinuz-", file.name):
                    image = whole.extractfile(file).read()
                elif file.isfile() and WHERE_MODULES_ARE.search(file.name) and (name := MODULE.search(file.name)):
                    octets = whole.extractfile(file).read()
                    found[name.group(1).replace("-", "_")] = lzma.decompress(octets) if name.group(2) else octets
    if not image or not found:
        raise NoMachine(f"{os.path.basename(package)} holds no kernel as it is known here")
    building = tempfile.mkdtemp(prefix="unpacking-", dir=made(CACHE))
    modules = made(os.path.join(building, "modules"))
    for place, name in enumerate(in_order(MODULES, found)):
        with open(os.path.join(modules, f"{place:02}-{name}.ko"), "wb") as file:
            file.write(found[name])
    with open(os.path.join(building, "vmlinuz"), "wb") as file:
        file.write(image)
    os.rename(building, folder)


def made(folder):
    """The folder, made where it is not there."""
    os.makedirs(folder, exist_ok=True)
    return folder


def in_order(names, found, order=None):
    """These modules and all that they depend on, which come first. What is not among the files is built in."""
    order = [] if order is None else order
    for name in names:
        if name in found and name not in order:
            depends = re.search(rb"\0depends=([^\0]*)\0", found[name])
            in_order(depends.group(1).decode().replace("-", "_").split(",") if depends else (), found, order)
            order.append(name)
    return order
