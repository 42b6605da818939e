"""The service that hands out the map."""
