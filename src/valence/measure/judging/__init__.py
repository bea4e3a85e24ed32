"""How well a model judges what was said: its verdict after EOS, and read-outs of that state.

Wherever it is asked for, a side branch of one EOS token is read beside held-out text: the
probability of the best band's token against the others', and the hidden state there. `judge` is
all of it.
"""

from valence.measure.judging.judge import judge

__all__ = ["judge"]
