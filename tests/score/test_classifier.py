"""Classifiers against transformers itself, and at the edges: windows, labels, forged text."""

from __future__ import annotations

import json
import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_networks import (
    llama,
    save_bert,
    save_decoder,
    save_reward_model,
    unigrams,
    word_pieces,
)
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertModel,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from valence.data import Document, Failure, Result, Score, Segment, tile
from valence.errors import MissingExtraError, MissingFileError, ModelError, ScorerError
from valence.score.classifier import DETOXIFY, Classifier, detoxify, spans
from valence.score.network import Network, in_batches
from valence.score.protocol import BatchScorer, flops_of, traits
from valence.score.table import build_scorer

LABELS = ["toxic", "fine", "other"]
TEXTS = ["the cat sat", "you are bad people", "one", "a dog ran to the mat and a cat sat on it"]


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_bert(tmp_path_factory.mktemp("three"), LABELS)


@pytest.fixture(scope="module")
def toxic(three: Path) -> Classifier:
    return Classifier(model=str(three), label="toxic", device="cpu")


@pytest.fixture(scope="module")
def unigram(tmp_path_factory: pytest.TempPathFactory) -> Network:
    directory = save_decoder(tmp_path_factory.mktemp("unigram"))
    unigrams().save_pretrained(directory)
    return Network(str(directory), "language", device="cpu")


def document(text: str) -> Document:
    return Document(id="x", text=text, source="x")


def whole(text: str) -> tuple[Document, tuple[Segment, ...]]:
    return document(text), tile([len(text)] if text else [])


def value(result: Result) -> float:
    assert isinstance(result, Score), result
    return result.value


def logits(directory: Path, ids: list[int]) -> torch.Tensor:
    model = AutoModelForSequenceClassification.from_pretrained(directory).eval()
    with torch.inference_mode():
        return model(torch.tensor([ids])).logits[0].double()


def test_rewards_are_those_of_transformers(three: Path, toxic: Classifier) -> None:
    tokenizer = AutoTokenizer.from_pretrained(three)
    for text in TEXTS:
        expected = -torch.softmax(logits(three, tokenizer(text)["input_ids"]), -1)[0]
        assert value(toxic.score(*whole(text))[0]) == pytest.approx(float(expected), abs=1e-6)


@pytest.mark.parametrize(
    ("problem", "labels", "activation"),
    [
        ("multi_label_classification", LABELS, torch.sigmoid),
        ("single_label_classification", LABELS, lambda x: torch.softmax(x, -1)),
        (None, LABELS, lambda x: torch.softmax(x, -1)),
        (None, ["toxic"], torch.sigmoid),
        ("regression", ["toxic"], lambda x: x),
    ],
)
def test_the_activation_follows_the_configuration(
    tmp_path: Path, problem: str | None, labels: list[str], activation: object
) -> None:
    save_bert(tmp_path, labels, problem_type=problem)
    label = "toxic" if len(labels) > 1 else None
    for bad, sign in ((True, -1), (False, 1)):
        scorer = Classifier(model=str(tmp_path), label=label, bad=bad, device="cpu")
        ids = AutoTokenizer.from_pretrained(tmp_path)(TEXTS[1])["input_ids"]
        expected = sign * float(activation(logits(tmp_path, ids))[0])  # type: ignore[operator]
        assert value(scorer.score(*whole(TEXTS[1]))[0]) == pytest.approx(expected, abs=1e-6)


def test_a_label_must_be_chosen_and_known(three: Path) -> None:
    for label in (None, "Toxic", 3, -1):
        with pytest.raises(ScorerError, match="toxic, fine, other"):
            Classifier(model=str(three), label=label, device="cpu")
    by_index = Classifier(model=str(three), label=0, device="cpu")
    assert by_index.id == Classifier(model=str(three), label="toxic", device="cpu").id


def test_softmax_of_one_output_is_refused(tmp_path: Path) -> None:
    save_bert(tmp_path, ["toxic"])
    with pytest.raises(ScorerError, match="always 1"):
        Classifier(model=str(tmp_path), activation="softmax", device="cpu")


def test_text_never_becomes_a_control_token(three: Path, toxic: Classifier) -> None:
    text = "the cat [SEP] [CLS] [PAD] sat"
    tokenizer = AutoTokenizer.from_pretrained(three)
    assert 3 in tokenizer(text, add_special_tokens=False)["input_ids"]  # It would be forged.
    parts = ["the cat", "[", "sep", "]", "[", "cls", "]", "[", "pad", "]", "sat"]
    apart = [i for part in parts for i in tokenizer(part, add_special_tokens=False)["input_ids"]]
    assert not {0, 2, 3} & set(apart)
    expected = -torch.softmax(logits(three, [2, *apart, 3]), -1)[0]
    assert value(toxic.score(*whole(text))[0]) == pytest.approx(float(expected), abs=1e-6)


@settings(deadline=None)
@given(pieces=st.lists(st.sampled_from(["</s>", "<s>", "＜/s＞", "<", "/s>", "a ", "é"])))
def test_not_even_where_control_tokens_are_pieces(unigram: Network, pieces: list[str]) -> None:
    plain = unigram.tokenizer("＜/s＞", add_special_tokens=False, split_special_tokens=True)
    assert 2 in plain["input_ids"]
    for forged in ("".join(pieces), "a</s> <s>b＜/s＞</s></s>"):
        ids, offsets = unigram.token_offsets(forged)
        assert not {1, 2} & set(ids) and unigram.token_ids(["a", forged])[1] == ids
        assert np.all(np.diff(offsets[:, 0]) >= 0)
        covered = {i for start, end in offsets.tolist() for i in range(start, end)}
        assert all(i in covered for i, letter in enumerate(forged) if letter != " ")


@pytest.mark.parametrize("windows", ["worst", "mean"])
@pytest.mark.parametrize("bad", [True, False])
def test_long_text_is_read_in_windows(three: Path, windows: str, bad: bool) -> None:
    scorer = build_scorer(
        {
            "classifier": {
                "model": str(three),
                "label": "toxic",
                "bad": bad,
                "windows": windows,
                "max_tokens": 12,
                "overlap": 3,
                "device": "cpu",
            }
        }
    )
    text = " ".join(TEXTS[::-1] + TEXTS)
    ids = AutoTokenizer.from_pretrained(three)(text, add_special_tokens=False)["input_ids"]
    assert len(ids) > 25 and (len(ids) - 10) % 7
    starts = [*range(0, len(ids) - 10, 7), len(ids) - 10]
    sign = -1 if bad else 1
    each = [
        sign * float(torch.softmax(logits(three, [2, *ids[a : a + 10], 3]), -1)[0]) for a in starts
    ]
    expected = min(each) if windows == "worst" else float(np.mean(each))
    assert value(scorer.score(*whole(text))[0]) == pytest.approx(expected, abs=1e-6)


@settings(deadline=None)
@given(length=st.integers(0, 500), size=st.integers(1, 60), data=st.data())
def test_windows_cover_every_token(length: int, size: int, data: st.DataObject) -> None:
    overlap = data.draw(st.integers(0, size - 1))
    found = spans(length, size, overlap)
    assert sorted({i for a, b in found for i in range(a, b)}) == list(range(length))
    assert all(b - a == min(size, length) for a, b in found)
    assert all(before[1] - after[0] >= overlap for before, after in pairwise(found))


@settings(deadline=None)
@given(lengths=st.lists(st.integers(1, 50)), most=st.integers(1, 200))
def test_batches_hold_everything_once(lengths: list[int], most: int) -> None:
    groups = list(in_batches(lengths, most))
    assert sorted(i for group in groups for i in group) == list(range(len(lengths)))
    for group in groups:
        assert len(group) == 1 or max(lengths[i] for i in group) * len(group) <= most


def test_a_batch_changes_nothing_but_rounding(toxic: Classifier) -> None:
    items = [whole(text) for text in [*TEXTS, " ".join(TEXTS * 4), ""]]
    assert isinstance(toxic, BatchScorer) and traits(toxic).batch == 64
    together = toxic.score_many(items)
    assert together == toxic.score_many(items)
    for one, item in zip(together, items, strict=True):
        alone = toxic.score(*item)
        assert [value(r) for r in one] == pytest.approx([value(r) for r in alone], abs=1e-6)


@settings(deadline=None, max_examples=25)
@given(text=st.text(max_size=60), cuts=st.lists(st.integers(0, 60)))
def test_one_finite_answer_per_segment(toxic: Classifier, text: str, cuts: list[int]) -> None:
    ends = sorted({min(cut, len(text)) for cut in [*cuts, len(text)]} - {0})
    results = toxic.score(document(text), tile(ends))
    assert len(results) == len(ends)
    for result in results:
        if isinstance(result, Failure):
            assert result.kind == "no-tokens"
        else:
            assert -1 <= result.value <= 0


def test_a_segment_without_tokens_has_no_number(toxic: Classifier) -> None:
    results = toxic.score(document("the cat\n \n"), tile([8, 10]))
    assert isinstance(results[0], Score)
    assert isinstance(results[1], Failure) and results[1].kind == "no-tokens"
    assert toxic.score_many([]) == []


def test_a_decoder_reads_its_last_token_in_any_batch(tmp_path: Path) -> None:
    save_reward_model(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["pad_token_id"] is None
    scorer = Classifier(model=str(tmp_path), activation="none", bad=False, device="cpu")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    many = scorer.score_many([whole(text) for text in TEXTS])
    for text, results in zip(TEXTS, many, strict=True):
        expected = float(logits(tmp_path, tokenizer(text)["input_ids"])[0])
        assert value(results[0]) == pytest.approx(expected, abs=1e-5)


def test_positions_that_begin_after_the_padding_index(tmp_path: Path) -> None:
    shape = RobertaConfig(
        vocab_size=150,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=20,
        pad_token_id=1,
        num_labels=1,
    )
    RobertaForSequenceClassification(shape).save_pretrained(tmp_path)
    word_pieces().save_pretrained(tmp_path)
    scorer = Classifier(model=str(tmp_path), device="cpu")
    assert scorer._network.limit == 18
    assert isinstance(scorer.score(*whole(" ".join(TEXTS * 3)))[0], Score)


def test_the_digest_covers_weights_tokenizer_and_options(three: Path, tmp_path: Path) -> None:
    def digest(directory: Path, **options: object) -> str:
        made = build_scorer({"classifier": {"model": str(directory), "label": 0, **options}})
        return made.id.digest

    copy = shutil.copytree(three, tmp_path / "copy")
    (copy / "README.md").write_text("no part of the model")
    first = digest(three)
    assert digest(copy) == first
    others = [{"label": 1}, {"bad": False}, {"max_tokens": 12}, {"windows": "mean"}]
    others += [{"dtype": "bf16"}, {"activation": "sigmoid"}, {"overlap": 0}]
    found = {digest(three, **options) for options in others}
    save_bert(tmp_path / "trained", LABELS, hidden_dropout_prob=0.2)
    found.add(digest(tmp_path / "trained"))
    tokenizer = copy / "tokenizer.json"
    tokenizer.write_text(tokenizer.read_text().replace('"lowercase": true', '"lowercase": false'))
    found.add(digest(copy))
    assert len(found | {first}) == len(others) + 3


def test_flops_are_counted_without_padding(three: Path) -> None:
    scorer = Classifier(model=str(three), label=0, device="cpu")
    assert flops_of(scorer) == 0
    scorer.score_many([whole(text) for text in ("the cat sat", "one")])
    weights = sum(
        weight.numel()
        for name, weight in scorer._network.model.named_parameters()
        if "embeddings.weight" not in name.replace("_embeddings", "embeddings")
    )
    lengths = [5, 3]
    expected = sum(2 * weights * n + 4 * 2 * 16 * n**2 for n in lengths)
    assert flops_of(scorer) == expected


def test_what_cannot_be_loaded_says_why(
    three: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("valence.score.pretrained.find_spec", lambda _: None)
    pickled = shutil.copytree(three, tmp_path / "pickled")
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"pickles.*\n?.*Convert"):
        Classifier(model=str(pickled), label=0)
    with pytest.raises(MissingFileError, match="no such model directory"):
        Classifier(model=str(tmp_path / "nowhere"), label=0)
    body = shutil.copytree(three, tmp_path / "body")
    BertModel.from_pretrained(three, add_pooling_layer=True).save_pretrained(body)
    with pytest.raises(ModelError, match="no trained weights for classifier"):
        Classifier(model=str(body), label=0)
    (pickled / "model.safetensors").write_bytes(b"{}")
    with pytest.raises(ModelError, match="the model cannot be loaded"):
        Classifier(model=str(pickled), label=0)
    (pickled / "tokenizer.json").rename(pickled / "spiece.model")
    with pytest.raises(MissingExtraError, match="sentencepiece"):
        Classifier(model=str(pickled), label=0)
    (pickled / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelError, match="the tokenizer cannot be loaded"):
        Classifier(model=str(pickled), label=0)


def test_code_of_a_model_is_never_run(three: Path, tmp_path: Path) -> None:
    forged = shutil.copytree(three, tmp_path / "forged")
    config = json.loads((forged / "config.json").read_text())
    config["model_type"] = "unheard-of"
    config["auto_map"] = {"AutoConfig": "evil.Evil", "AutoModelForSequenceClassification": "evil.E"}
    (forged / "config.json").write_text(json.dumps(config))
    (forged / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(ModelError, match="cannot be loaded"):
        Classifier(model=str(forged), label=0)
    assert not (tmp_path / "ran").exists()


def test_a_device_that_is_not_here(three: Path) -> None:
    with pytest.raises(ScorerError, match="there is no device `cuda:99`"):
        Classifier(model=str(three), label=0, device="cuda:99")


def test_wrong_options(three: Path) -> None:
    with pytest.raises(ScorerError, match="windows"):
        build_scorer({"classifier": {"model": str(three), "windows": "best"}})
    with pytest.raises(ScorerError, match="did you mean `label`"):
        build_scorer({"classifier": {"model": str(three), "labell": "toxic"}})
    with pytest.raises(ScorerError, match="takes 32 tokens at most"):
        Classifier(model=str(three), label=0, max_tokens=33)
    with pytest.raises(ScorerError, match="cannot overlap by 30"):
        Classifier(model=str(three), label=0, overlap=30)


def test_a_name_of_the_hub_is_fetched(three: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def fetch(name: str, **options: object) -> str:
        asked.append((name, options["revision"], options["allow_patterns"]))
        if name == "some/missing":
            raise OSError("offline")
        return str(three)

    monkeypatch.setattr("huggingface_hub.snapshot_download", fetch)
    scorer = Classifier(model="some/model", label="toxic", revision="abc", device="cpu")
    assert scorer.id == Classifier(model=str(three), label="toxic", device="cpu").id
    assert asked[0][:2] == ("some/model", "abc")
    assert not any("bin" in pattern or "py" in pattern for pattern in asked[0][2])
    with pytest.raises(ModelError, match="hub does not give it"):
        Classifier(model="some/missing")
    with pytest.raises(MissingFileError):
        Classifier(model="./some/missing")


def test_detoxify_by_its_own_names(
    tmp_path: Path, three: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def fetch(name: str, **options: object) -> str:
        asked.append((name, options["revision"]))
        return str(three)

    monkeypatch.setattr("huggingface_hub.snapshot_download", fetch)
    fetched = detoxify(device="cpu")
    assert fetched.id.name == "detoxify-original" and asked == [DETOXIFY["original"]]
    local = build_scorer({"detoxify": {"path": str(three), "label": "toxicity", "device": "cpu"}})
    assert local.id == fetched.id
    ids = AutoTokenizer.from_pretrained(three)(TEXTS[0])["input_ids"]
    expected = -float(torch.sigmoid(logits(three, ids))[0])
    assert value(local.score(*whole(TEXTS[0]))[0]) == pytest.approx(expected, abs=1e-6)
    save_bert(tmp_path, ["toxicity", "insult"])
    unbiased = detoxify(checkpoint="unbiased", path=str(tmp_path), label="insult", device="cpu")
    assert unbiased.id.name == "detoxify-unbiased"


def test_the_precision_is_told(three: Path, tmp_path: Path) -> None:
    exact = Classifier(model=str(three), label=0, device="cpu")
    rough = Classifier(model=str(three), label=0, device="cpu", dtype="bf16")
    assert exact._network.precision == "fp32" and rough._network.precision == "bf16"
    assert value(exact.score(*whole(TEXTS[0]))[0]) == pytest.approx(
        value(rough.score(*whole(TEXTS[0]))[0]), abs=0.05
    )


def test_a_masked_model_is_no_language_model(three: Path, tmp_path: Path) -> None:
    from transformers import BertConfig, BertForMaskedLM

    config = BertConfig.from_pretrained(three, initializer_range=0.5)
    BertForMaskedLM(config).save_pretrained(tmp_path)
    word_pieces().save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="not a causal"):
        Network(str(tmp_path), "language", device="cpu")
    save_decoder(tmp_path / "causal")
    assert Network(str(tmp_path / "causal"), "language", device="cpu").limit == 64
    assert llama().max_position_embeddings == 64
