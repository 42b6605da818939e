"""What a researcher may have of the facility, how much of it they have, and what to do where it is full.

``appliance quota`` in a terminal of JupyterLab; in Python::

    import appliance.quota

    appliance.quota.report()
"""

from appliance.quota.report import Limit, QuotaReport, report

__all__ = ["Limit", "QuotaReport", "report"]
