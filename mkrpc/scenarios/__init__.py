"""Open problems of multikernel kernels, played under a seed, with defect and remedies."""
