"""Train networks: from samples and a network to a trained network."""
