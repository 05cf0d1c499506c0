"""microgpt under the name of its distribution, for programs that are called microgpt.py themselves.

In a script microgpt.py, `from microgpt import Value` imports the script; `from microgpt_core import Value` does not.
`microgpt_core` is `microgpt`, the same module with the same classes, wherever that name means the package; where it
means another file, `microgpt_core` is the package by itself.
"""

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from microgpt import *  # noqa: F403
    from microgpt import __version__ as __version__

_home = Path(__file__).resolve().parent.parent / "microgpt"


def _means_the_package(name: str) -> bool:
    """Does an import of the name find the package, and no other file?"""
    try:
        spec = importlib.util.find_spec(name)
    except ValueError:  # a module that was made by hand
        return False
    return spec is not None and spec.origin is not None and Path(spec.origin).resolve().parent == _home


if _means_the_package("microgpt"):
    sys.modules[__name__] = importlib.import_module("microgpt")
    for _name in [_name for _name in sys.modules if _name.startswith("microgpt.")]:
        sys.modules[f"{__name__}{_name[len('microgpt') :]}"] = sys.modules[_name]
else:
    _spec = importlib.util.spec_from_file_location(
        __name__, _home / "__init__.py", submodule_search_locations=[str(_home)]
    )
    assert _spec is not None
    assert _spec.loader is not None
    _package = sys.modules[__name__] = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(_package)
