"""lm-evaluation-harness on our models, in each of their modes; an extra.

Source: Gao et al., A framework for few-shot language model evaluation
(doi 10.5281/zenodo.12608602).
"""

from valence.measure.harness.run import check_harness, harness

__all__ = ["check_harness", "harness"]
