"""cnm: Docker's Container Network Model as a declarative reconciler for Linux hosts."""

__version__ = "0.1.0"
