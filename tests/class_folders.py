"""Small files in folders, which is all that a listing needs."""

import os


def write_files(root, *names, content=b"any bytes"):
    """Write small files, which is all that a listing needs."""
    for name in names:
        path = os.path.join(root, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(content)


def relative(root, paths):
    return [os.path.relpath(path, root) for path in paths]
