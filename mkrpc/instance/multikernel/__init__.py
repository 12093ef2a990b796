"""What stands on the multikernel vector: messages, requests, and the channels that carry them."""
