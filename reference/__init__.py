"""PyTorch beside `scratch`: the same models, weights carried across, everything they compute compared."""
