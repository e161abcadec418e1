"""Decode one image: from a file, bytes or an array to pixels."""
