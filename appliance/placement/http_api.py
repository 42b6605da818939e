"""What the placement service and its clients have agreed on beside the documents themselves."""

MAP_PATH = "/v1/map"
LAYOUTS_PATH = "/v1/layouts"
MAX_OBJECTS = 1000  # of one request for layouts, as in a page of S3's listings
