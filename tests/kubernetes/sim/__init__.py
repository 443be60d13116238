"""A simulated Kubernetes API server: see ../README.md."""
