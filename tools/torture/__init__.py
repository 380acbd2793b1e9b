"""Trying to break refca: kills, damaged files, full disks and odd command lines, counted.

`python -m torture` (with `tools` on Python's path; `make torture`) runs everything; each module is one kind of
trouble. Whatever is random comes from the printed seed. Source: `spec/torture.md`.
"""
