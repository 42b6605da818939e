"""A data-centric cluster appliance: computing happens on the machine that holds the data."""
