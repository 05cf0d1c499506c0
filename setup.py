"""Builds the C core; everything else about the package is in pyproject.toml."""

import re
import shutil
import sysconfig
from pathlib import Path

from setuptools import setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import PlatformError


class build_ext_here(build_ext):
    """Says what is missing where the core cannot be built, and also leaves it in the checkout, where Python finds the
    package first when it is run there."""

    def build_extensions(self):
        compiler = getattr(self.compiler, "compiler_so", None)
        if compiler and shutil.which(compiler[0]) is None:
            raise PlatformError(
                f"microgpt's core is written in C, and there is no compiler {compiler[0]!r} here: install one (on "
                "Debian and Ubuntu: apt install gcc python3-dev), or name yours, as in: CC=clang pip install ."
            )
        headers = {sysconfig.get_path(name) for name in ("include", "platinclude")}
        if not any(Path(place, "Python.h").exists() for place in headers):
            raise PlatformError(
                f"there is no Python.h in {' or '.join(sorted(headers))}, which microgpt's core is compiled with: "
                "install the headers of this Python (on Debian and Ubuntu: apt install python3-dev)"
            )
        super().build_extensions()

    def run(self):
        super().run()
        if not self.inplace:
            self.copy_extensions_to_source()


def readme():
    """The README without the links that are dead where packages are listed: those to files say their path instead."""

    def said(link):
        text, path = link.groups()
        return f"`{path}`" if text.strip("`/") == path else f"{text}: `{path}`"

    text = Path(__file__).with_name("README.md").read_text(encoding="utf-8")
    return re.sub(r"\[([^\]]+)\]\((?!\w+:)([^)#]+)[^)]*\)", said, text) + "\nPaths are those of the source archive.\n"


setup(
    long_description=readme(),
    long_description_content_type="text/markdown",
    cffi_modules=["microgpt/_build.py:ffibuilder"],
    cmdclass={"build_ext": build_ext_here},
    # One wheel for CPython 3.10 and newer: cffi compiles the core against the stable interface of Python.
    options={"bdist_wheel": {"py_limited_api": "cp310"}},
)
