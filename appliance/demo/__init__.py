"""A researcher's day on the facility: example notebook, data, and the driver that runs it in a real browser."""
