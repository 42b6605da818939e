"""What a researcher is on a machine, and what each of a researcher's processes gets: account, sandbox, environment.

Notebooks, schedulers, workers and the facility's check all start from here and add what they alone need. Standard
library only, because programs that run as root import it.
"""
