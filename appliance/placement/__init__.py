"""Where an S3 object lies: name → placement group → hosts, calculated from the cluster's map.

Numpy is all that this room needs to calculate; its service and its command line need a little more.
"""

from appliance.placement.client import MapClient
from appliance.placement.errors import MapError, PlacementError, PlacementUnavailable, UnknownPlace
from appliance.placement.heads import Heads
from appliance.placement.layout import Layout, Piece
from appliance.placement.map import Bucket, PlacementMap, Pool
from appliance.placement.ranges import Ranges

__all__ = [
    "Bucket",
    "Heads",
    "Layout",
    "MapClient",
    "MapError",
    "Piece",
    "PlacementError",
    "PlacementMap",
    "PlacementUnavailable",
    "Pool",
    "Ranges",
    "UnknownPlace",
]
