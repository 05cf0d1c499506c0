"""Builds the C core; everything else about the package is in pyproject.toml."""

from setuptools import setup

setup(
    cffi_modules=["microgpt/_build.py:ffibuilder"],
    # One wheel for CPython 3.10 and newer: cffi compiles the core against the stable interface of Python.
    options={"bdist_wheel": {"py_limited_api": "cp310"}},
)
