"""Why it works, measured on trained networks of our own: three studies.

    step_length   the paper's note on r: (∇L(θ + r v) − ∇L(θ))/r against H v
    geometry      gradients, curvature and sharpness along training
    landscape     the loss along random directions and between two solutions

``spec`` says which runs there are and what is measured of them, ``store`` keeps what was measured,
the module of each study's name says it in words and draws it. All this needs no torch;
``measuring``, which is imported where something is to be measured, does.
"""
