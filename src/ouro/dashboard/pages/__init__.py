"""The pages, one module each; ``register`` tells NiceGUI of all."""
