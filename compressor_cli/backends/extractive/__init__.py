"""The extractive backend: trains the small encoder that scores each word of prose, on a CPU."""
