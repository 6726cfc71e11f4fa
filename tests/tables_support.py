"""What the tests of the table modules share."""


def one_line(error) -> str:
    """The message of an error, which must be a single line."""
    assert "\n" not in str(error.value)
    return str(error.value)
