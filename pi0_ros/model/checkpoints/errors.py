"""The one error of this package."""


class CheckpointError(ValueError):
    """A checkpoint that cannot be used. The message names the file or key and the way out, in one sentence."""
