"""Training: transformers' Trainer over packed rows, with an objective's weights on each token."""

from valence.train.fit import Trained, train
from valence.train.flops import training_flops
from valence.train.learner import Learner
from valence.train.optimizer import build_optimizer

__all__ = ["Learner", "Trained", "build_optimizer", "train", "training_flops"]
