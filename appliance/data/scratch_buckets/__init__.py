"""Scratch: a bucket of each researcher's in which what has not been written for some days is removed.

What lies directly in the bucket is one thing, an object or a folder with all below it, and goes as a whole. ``rule``
says when, ``expiry`` is the facility's job, ``shown`` is what a researcher sees.
"""
