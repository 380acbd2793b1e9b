"""Adapters that hold published libraries of neural cellular automata to the laws, one module for each configuration.

An adapter imports its library, gives it the parameters of a law's case and the recorded random numbers, and returns
the library's state. Everything between is the library's. None of them is part of the package refca.
"""
