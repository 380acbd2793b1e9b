"""The JavaScript engine as files: an ES module for the playground, and `exec.mjs`, a program for node.

There is nothing to import from Python. This file makes the folder a package, so that a wheel brings it along and
`importlib.resources` finds it.
"""
