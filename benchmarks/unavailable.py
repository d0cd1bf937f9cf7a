"""What is not there, and therefore not measured."""


class Unavailable(Exception):
    """Raised with the reason: no such recurrence, no such device. It is no failure."""
