"""Measures this package: how well its models find objects, and its speed beside other ways of doing the same."""
