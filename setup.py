"""Builds the C core; everything else about the package is in pyproject.toml."""

from setuptools import setup
from setuptools.command.build_ext import build_ext


class build_ext_here(build_ext):
    """Also leaves the core in the checkout, where Python finds the package first when it is run there."""

    def run(self):
        super().run()
        if not self.inplace:
            self.copy_extensions_to_source()


setup(
    cffi_modules=["microgpt/_build.py:ffibuilder"],
    cmdclass={"build_ext": build_ext_here},
    # One wheel for CPython 3.10 and newer: cffi compiles the core against the stable interface of Python.
    options={"bdist_wheel": {"py_limited_api": "cp310"}},
)
