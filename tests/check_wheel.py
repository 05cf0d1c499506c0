"""Looks into what is given to people: python tests/check_wheel.py WHEEL SOURCE_ARCHIVE.

Every file of the package in the wheel, the compiled core too, has the bytes of that in this checkout, where the tests
have asked it."""

import re
import sys
import tarfile
import zipfile
from pathlib import Path

CHECKOUT = Path(__file__).parent.parent


def main(wheel: str, archive: str) -> int:
    with zipfile.ZipFile(wheel) as file:
        names = set(file.namelist())
        metadata = file.read(next(name for name in names if name.endswith("/METADATA"))).decode()
        core = file.read("microgpt/_core.abi3.so")
        package = {name: file.read(name) for name in names if ".dist-info/" not in name}
    with tarfile.open(archive) as file:
        sources = {name.partition("/")[2] for name in file.getnames()}
    wrong = [f"dead where packages are listed: {link}" for link in re.findall(r"\]\((?!\w+:)[^)]*\)", metadata)]
    wrong += [] if "Programming Language :: Python :: 3.13" in metadata else ["no classifiers"]
    wrong += ["the core has its symbols still"] if b".symtab" in core else []
    wrong += [
        f"{name} is not in the wheel" for name in ("microgpt/py.typed", "microgpt/cli/main.py") if name not in names
    ]
    needed = [".ci/run", "Makefile", "CONTRIBUTING.md", "csrc/microgpt.h", "docs/design.md", "tests/users/wrong.py"]
    wrong += [f"{name} is not in the source archive" for name in needed if name not in sources]
    wrong += [
        f"{name} is not the file that is in the checkout (make clean install makes that anew)"
        for name, content in package.items()
        if not (CHECKOUT / name).is_file() or (CHECKOUT / name).read_bytes() != content
    ]
    wrong += [f"{name} is in the wheel" for name in names if not name.startswith("microgpt")]
    print(
        "\n".join(wrong) or f"{len(names)} files in the wheel, {len(sources)} in the source archive: as they should be"
    )
    return len(wrong) > 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
