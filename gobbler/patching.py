"""gevent's patches of the standard library.

Nothing else may be imported before: a module that has already taken `socket`, `select` or a lock from the
standard library would keep the blocking one, and one blocked greenlet blocks them all.
"""

from importlib import metadata
from typing import Any

from gevent import monkey


def patch() -> None:
    """Patch all of it.

    gevent asks for its plugins some 25 times meanwhile, and each time looks at every package that is
    installed: 0.2 s. Here it looks once.
    """
    found = metadata.entry_points()
    seam: Any = metadata
    original, seam.entry_points = seam.entry_points, found.select
    try:
        monkey.patch_all()
    finally:
        seam.entry_points = original
