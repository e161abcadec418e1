"""The one form in which campaigns print what they have counted."""


def show_counts(what, **counts):
    """Print what a campaign has counted, in a line that begins with "counts"."""
    listed = ", ".join(f"{name.replace('_', ' ')} {n}" for name, n in counts.items())
    print(f"counts: {what}: {listed}")
