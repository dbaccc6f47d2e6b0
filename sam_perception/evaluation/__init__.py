"""Measures this package: its speed beside other ways of doing the same."""
