"""Background invariance by adversarial learning, as a pluggable augmentation for image models."""

__version__ = "0.1.0"
