"""Model definitions that the examples quantize, written out so that no other library is needed."""
