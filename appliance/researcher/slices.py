"""The slice of one researcher's units on a machine, below that of all researchers' units of the kind.

Role `node_base` limits every such slice by a drop-in of the kind (``notebooks-.slice.d``, ``compute-.slice.d``), so
that one researcher never has the memory or the tasks of all.
"""

from __future__ import annotations


def slice_of(kind: str, uid: int) -> str:
    """Return the name of a researcher's own slice; ``kind`` is the slice of all, ``notebooks.slice``.

    >>> slice_of("compute.slice", 2001)
    'compute-2001.slice'
    """
    return f"{kind.removesuffix('.slice')}-{uid}.slice"
