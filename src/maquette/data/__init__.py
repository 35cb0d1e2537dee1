"""From folders of pictures to training batches: reading, cutting, captions, mixing, caching."""
