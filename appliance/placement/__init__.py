"""Where an S3 object lies: name → placement group → hosts, calculated from the cluster's map.

What may import what, from top to bottom::

    cli                 the commands `appliance where` and `appliance placement`
     ├── client         asks the placement service and S3, and sums up the answers
     └── service        asks the cluster, and hands out its map
          (neither knows the other: what they have agreed on is in http_api)
    client, service
     ├── auth           who asks: S3 keys, signatures, tokens
     ├── model          names, hashes, layouts, maps: pure and vectorised, needs numpy alone
     └── http_endpoint  requests with a limit to time and size
    auth, model, http_endpoint
     └── errors         what can go wrong

`colours` stands apart. `service/rados_helpers` are programs for another Python: they are run, never imported.
"""

from appliance.placement.client.map_client import MapClient
from appliance.placement.client.object_lookup import ObjectLookup
from appliance.placement.client.ranges import Ranges
from appliance.placement.errors import MapError, PlacementError, PlacementUnavailable, UnknownPlace
from appliance.placement.model.object_layout import Layout, Piece
from appliance.placement.model.placement_map import Bucket, PlacementMap, Pool

__all__ = [
    "Bucket",
    "Layout",
    "MapClient",
    "MapError",
    "ObjectLookup",
    "Piece",
    "PlacementError",
    "PlacementMap",
    "PlacementUnavailable",
    "Pool",
    "Ranges",
    "UnknownPlace",
]
