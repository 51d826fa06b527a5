"""What is measured of a network's weights. Needs torch.

measure.py       one measurement after the other
looked_at.py     a run's network with the weights of an epoch
loss.py          the loss over fixed batches: value, gradient, exact H v
step_length.py   the difference that stands for H v, against it; gates.py: ReLUs that change
geometry.py      gradients, curvature, sharpness; spectrum.py, sharpness.py
landscape.py     the loss along lines; directions.py
"""
