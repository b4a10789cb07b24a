"""What can be wrong with recorded data."""


class DataError(ValueError):
    """A recording or dataset cannot be used; the message names the file and the way out."""
