"""Models and tokenizers: create, load, extend, adapt, save, load again.

A checkpoint is a plain Hugging Face directory that works without Valence: the tokenizer
puts the start of a document and the good token first and keeps literal control strings in
text as text, and the generation defaults never emit a worse band's token. `valence.json`
beside it keeps the control scheme for those who do have Valence.
"""

from valence.control import read_scheme
from valence.model.adapter import add_adapter, merge_adapter
from valence.model.checkpoint import (
    Checkpoint,
    check_checkpoint,
    generation_defaults,
    load_checkpoint,
    load_tokenizer,
    save_checkpoint,
)
from valence.model.create import best_device, create_model, parameter_counts
from valence.model.existing import check_base, check_scheme, load_base, load_base_tokenizer
from valence.model.extend import extend_tokenizer, extend_vocabulary
from valence.model.head import backbone, check_plain_head, head_weight
from valence.model.tokenizer import (
    EOS,
    EncodedText,
    continuation,
    encode_texts,
    end_ids,
    set_prefix,
    special_ids,
    start_ids,
    text_ids,
    train_tokenizer,
)

__all__ = [
    "EOS",
    "Checkpoint",
    "EncodedText",
    "add_adapter",
    "backbone",
    "best_device",
    "check_base",
    "check_checkpoint",
    "check_plain_head",
    "check_scheme",
    "continuation",
    "create_model",
    "encode_texts",
    "end_ids",
    "extend_tokenizer",
    "extend_vocabulary",
    "generation_defaults",
    "head_weight",
    "load_base",
    "load_base_tokenizer",
    "load_checkpoint",
    "load_tokenizer",
    "merge_adapter",
    "parameter_counts",
    "read_scheme",
    "save_checkpoint",
    "set_prefix",
    "special_ids",
    "start_ids",
    "text_ids",
    "train_tokenizer",
]
