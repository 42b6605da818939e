"""What the object gateway's admin API tells of buckets."""

from recorded_cluster import RecordedCluster

from appliance.placement.service.map_refresher import MapRefresher
from appliance.placement.service.rgw_admin import RgwAdmin


def test_a_gateway_that_is_not_there_is_named(refresher: MapRefresher, cluster: RecordedCluster) -> None:
    refresher.rgw = RgwAdmin("http://127.0.0.1:9", cluster.rgw.keys, cluster.rgw.data_pools)
    refresher.refresh()
    assert refresher.failure == "the gateway at http://127.0.0.1:9 tells no buckets: [Errno 111] Connection refused"
    assert refresher.current().map.buckets == {}
