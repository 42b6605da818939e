"""Scheduler preload: adds the page of reads to the Dask dashboard.

The dashboard is put together while the scheduler is made, from what its table of pages holds at that moment. Preloads
are imported before that and set up after it, so importing this module is what adds the page.
"""

from __future__ import annotations

import logging

logger = logging.getLogger("distributed.scheduler.appliance")

try:
    from appliance.compute import panel
except ImportError as error:  # the scheduler itself says what the whole dashboard lacks
    logger.warning("The dashboard has no page of reads: %s", error)
else:
    panel.add_pages()
