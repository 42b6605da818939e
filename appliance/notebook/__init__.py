"""What a researcher's notebook server has beyond JupyterLab: the dashboards of its owner's clusters.

An extension of Jupyter Server; role `jupyterhub` switches it on.
"""

from __future__ import annotations

from typing import Any


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": __name__}]


def _load_jupyter_server_extension(server: Any) -> None:
    # Jupyter Server is in the notebooks' environment alone.
    from appliance.notebook.handlers import add_to

    add_to(server)
