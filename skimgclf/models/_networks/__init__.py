"""Build networks: from an image shape to a Keras model."""
