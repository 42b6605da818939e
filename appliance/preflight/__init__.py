"""Judge an inventory, and the machines that it names, before anything is changed: every fault at once.

Static checks know nothing but the inventory; live checks read what `plugins/modules/preflight_facts.py` saw on the
machines. Each check is a function from a :class:`~appliance.preflight.facility.Facility` to faults.
"""

from appliance.preflight.facility import Facility
from appliance.preflight.fault import Fault
from appliance.preflight.judge import judge

__all__ = ["Facility", "Fault", "judge"]
