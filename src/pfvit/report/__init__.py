"""`pfvit report`: the figures and pictures that a paper would print, as one page and as files. Needs no torch."""
