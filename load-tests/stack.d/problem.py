"""The one error of the script: a line for people that says what is wrong and how to mend it."""

import sys


class Problem(Exception):
    pass


def say(text):
    """Progress, for people; standard output belongs to the JSON."""
    print(f"stack: {text}", file=sys.stderr, flush=True)
