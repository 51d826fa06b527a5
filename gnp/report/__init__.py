"""How results are shown, whatever they are of: numbers, grids, Markdown, terminal, figures, files.

Needs no torch.
"""
