"""Check parameters, samples, labels and weights before training."""
