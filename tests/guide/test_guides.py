"""Guides: what each does to a text, against sums worked out apart, whatever the batch is."""

from __future__ import annotations

import copy
import itertools
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from lettered import SCHEME, lettered
from scipy.optimize import minimize
from scipy.stats import chisquare
from small_models import checkpoint as other_family
from transformers import GenerationConfig, LogitsProcessorList

from valence.control import ControlScheme
from valence.errors import ControlError
from valence.guide import (
    Ask,
    Contrast,
    ContrastProcessor,
    Guide,
    Ledger,
    Lookahead,
    Rectify,
    Rollback,
    Scored,
    Search,
    Steer,
    Verdict,
    Written,
    asks_for,
    generate,
    steering,
)
from valence.guide.contrast import contrasted
from valence.guide.measures import Said
from valence.guide.modes import hold
from valence.guide.protocol import Site
from valence.guide.rectify import tilted
from valence.guide.rows import Row, Rows
from valence.guide.verdict import verdict_of
from valence.model import Checkpoint, backbone, continuation, text_ids

PROMPTS = ["", "the cat", "no one saw"]


def write(
    guides: Sequence[Guide] = (),
    *,
    conditional: bool = True,
    window: int | None = None,
    **options: object,
) -> dict[int, Written]:
    used = lettered(conditional=conditional, window=window)
    asks = asks_for(used.tokenizer, PROMPTS, per_prompt=3, seed=0)
    given = {"max_tokens": 24, "batch": 9} | options
    mode = given.pop("mode", "good" if conditional else "none")
    return dict(generate(used, SCHEME, mode, asks, guides=guides, **given))  # type: ignore[arg-type]


class Allowed:
    """A measure of our own: 1 for segments that begin with one of some characters."""

    cost, steps, whole_batch = "nothing", 0, False

    def __init__(self, letters: str) -> None:
        self.letters = letters

    def fits(self, checkpoint: Checkpoint, known: ControlScheme | None) -> bool:
        return True

    def begin(self, site: Site) -> None:
        self.site = site

    def values(self, said: Sequence[Said], rows: Rows) -> list[float | None]:
        controls = self.site.control_ids
        texts = [
            self.site.checkpoint.tokenizer.decode(
                [t for t in each.row.tokens[each.begin : each.end] if t not in controls]
            )
            for each in said
        ]
        return [self.value(text) for text in texts]

    def value(self, text: str) -> float:
        return float(text[:1] in self.letters)

    def forget(self, rows: Sequence[Row]) -> None:
        pass


class Short(Allowed):
    """Shorter segments are better."""

    def value(self, text: str) -> float:
        return -len(text)


MAKERS = {
    "contrast": lambda: Contrast(0.7),
    "steer": lambda: Steer(1.0, layer=1),
    "lookahead": lambda: Lookahead(5),
    "rectify": lambda: Rectify(5),
    "search": lambda: Search(Verdict(), 3),
    "search, drawn": lambda: Search(Verdict(), 3, temperature=0.1),
    "best of 3": lambda: Search(Verdict(), 3, segments="document"),
    "rollback": lambda: Rollback(Verdict(), 0.2, retries=2),
    "rollback, lowered": lambda: Rollback(Verdict(), 0.2, retries=2, lower=3.0),
    "rollback, best": lambda: Rollback(Verdict(), 0.5, retries=2, otherwise="best"),
    "rollback, windows": lambda: Rollback(
        Scored({"regex": {"patterns": ["[xyz]"]}}), 0.0, retries=4, segments="window", window=5
    ),
    "rollback, sentences": lambda: Rollback(Verdict(), 0.2, retries=2, segments="sentence"),
}


@pytest.mark.parametrize("name", MAKERS)
def test_a_guided_text_depends_on_its_ask_alone(name: str) -> None:
    one, *others = (write([MAKERS[name]()], batch=batch) for batch in (1, 4, 27))
    assert all(other == one for other in others)
    assert one != write()


@pytest.mark.parametrize("name", ["search", "rollback", "rectify", "rollback, best"])
def test_so_it_does_where_the_model_has_no_control_tokens(name: str) -> None:
    one, *others = (write([MAKERS[name]()], conditional=False, batch=b) for b in (2, 9))
    assert all(other == one for other in others)
    assert one != write(conditional=False)


@pytest.mark.parametrize("name", ["contrast", "lookahead", "search", "rollback"])
def test_so_it_does_where_layers_slide(name: str) -> None:
    one, *others = (write([MAKERS[name]()], window=5, batch=batch) for batch in (1, 4, 9))
    assert all(other == one for other in others)
    assert one != write(window=5)


@pytest.mark.parametrize(
    ("conditional", "window"), [(True, None), (False, None), (True, 5), (False, 5)]
)
@pytest.mark.parametrize(
    "guide",
    [lambda: Rollback(Verdict(), 0.0), lambda: Search(Verdict(), 1)],
    ids=["rollback at 0", "search among 1"],
)
def test_what_may_not_change_anything_does_not(
    guide: object, conditional: bool, window: int | None
) -> None:
    expected = write(conditional=conditional, window=window)
    assert write([guide()], conditional=conditional, window=window) == expected  # type: ignore[operator]


def test_contrast_by_0_and_steering_by_0_are_the_mode_itself() -> None:
    assert write([Contrast(0.0)]) == write() == write([Steer(0.0)])


def test_contrast_by_the_formula() -> None:
    rng = np.random.default_rng(0)
    good, bad = rng.normal(size=(2, 6)), rng.normal(size=(2, 6))
    never = [4, 5]
    found = contrasted(*map(torch.tensor, (good, bad)), 0.7, torch.tensor(never), 0.1).exp()
    for row in range(2):
        p, q = (np.exp(x[row]) / np.exp(x[row]).sum() for x in (good, bad))
        wanted = p**1.7 / q**0.7
        wanted[p < 0.1 * p[:4].max()] = 0
        wanted[4:] = 0
        wanted *= p[:4].sum() / wanted.sum()
        wanted[4:] = p[4:]
        np.testing.assert_allclose(found[row], wanted, rtol=1e-5)
        assert found[row].sum() == pytest.approx(1)


def test_a_token_at_the_beginning_alone_is_contrasted_and_given_away_to_no_verdict() -> None:
    scheme = replace(SCHEME, level="document")
    used = replace(lettered(), scheme=scheme)
    asks = asks_for(used.tokenizer, PROMPTS, per_prompt=2, seed=0)

    def found(*guides: Guide) -> dict[int, Written]:
        return dict(generate(used, scheme, "good", asks, max_tokens=24, guides=guides))

    assert found(Contrast(1.0)) != found() == found(Contrast(0.0))
    guide = Rollback(Verdict(), 0.0)
    texts = found(guide)
    judge = verdict_of(used, scheme)
    for number, each in texts.items():
        said = guide.verdicts(number)
        if "�" not in each.text and said.texts:
            prompt = text_ids(used.tokenizer, PROMPTS[number // 2])
            whole = prompt + text_ids(used.tokenizer, said.texts[0])
            assert said.values[0] == pytest.approx(alone(used, judge, whole), abs=1e-6)
    # It was read without the token: beside the text, not in it.
    assert guide.looked > 0


@pytest.mark.parametrize("window", [None, 5])
def test_contrast_guides_anybodys_generate(window: int | None) -> None:
    used = lettered(window=window)
    prefix, band = hold(used, SCHEME.token_ids(used.tokenizer), "good")
    eos = used.tokenizer.eos_token_id
    prompts = [[eos, *prefix, *text_ids(used.tokenizer, prompt)] for prompt in PROMPTS]
    width = max(map(len, prompts))
    ids = torch.tensor([[eos] * (width - len(each)) + each for each in prompts])
    lengths = torch.tensor([len(each) for each in prompts])
    mask = torch.arange(width)[None] >= (width - lengths)[:, None]
    out = used.model.generate(
        ids,
        attention_mask=mask.long(),
        logits_processor=LogitsProcessorList([ContrastProcessor(used, SCHEME, 0.7), band]),
        generation_config=GenerationConfig(
            do_sample=False, max_new_tokens=20, eos_token_id=eos, pad_token_id=eos
        ),
    )[:, width:]
    asks = asks_for(used.tokenizer, PROMPTS, per_prompt=1, seed=0)
    ours = dict(
        generate(used, SCHEME, "good", asks, max_tokens=20, temperature=0.0, guides=[Contrast(0.7)])
    )
    controls = SCHEME.token_ids(used.tokenizer)
    for number, prompt in enumerate(PROMPTS):
        theirs = itertools.takewhile(lambda t: t != eos, out[number].tolist())
        text = [token for token in theirs if token not in controls]
        before = text_ids(used.tokenizer, prompt)
        # They count control tokens among the 20.
        assert ours[number].text.startswith(continuation(used.tokenizer, before, text).rstrip("�"))
        assert len(text) > 5


def test_each_ask_may_have_its_own_alpha() -> None:
    mixed = write([Contrast([0.0, 1.0, 0.0] * 3)])
    none, full = write(), write([Contrast(1.0)])
    assert all(mixed[n] == (full if n % 3 == 1 else none)[n] for n in range(9))
    with pytest.raises(ControlError, match="2 alphas for 9"):
        write([Contrast([1.0, 2.0])])


@pytest.mark.parametrize("conditional", [True, False])
def test_nothing_that_failed_is_emitted_and_verdicts_are_those_of_the_text_alone(
    conditional: bool,
) -> None:
    used = lettered(conditional=conditional)
    guide = Rollback(Verdict(), 0.25, retries=6)
    found = write([guide], conditional=conditional, max_tokens=40)
    judge = verdict_of(used, SCHEME)
    passed = 0
    for number, each in found.items():
        told = guide.verdicts(number)
        kept = [text for text, good in zip(told.texts, told.passed, strict=True) if good]
        assert "".join(kept) == each.text
        prompt, so_far = PROMPTS[number // 3], ""
        for text, value, good in zip(told.texts, told.values, told.passed, strict=True):
            assert value is not None
            assert good == (value >= 0.25)
            ids = text_ids(used.tokenizer, prompt) + text_ids(used.tokenizer, so_far + text)
            # Letters that no text spells are not read as they were written.
            if "�" not in so_far + text:
                assert value == pytest.approx(alone(used, judge, ids), abs=1e-6)
            so_far += text if good else ""
            passed += good
    assert passed > 5
    assert any(not all(guide.verdicts(n).passed) for n in found)


@torch.no_grad()
def alone(used: Checkpoint, judge: object, ids: list[int]) -> float:
    eos = used.tokenizer.eos_token_id
    states = backbone(used.model)(input_ids=torch.tensor([[eos, *ids, eos]])).last_hidden_state
    return float(judge(states[0, -1:])[0])  # type: ignore[operator]


def test_accepted_segments_are_drawn_from_the_truncated_distribution() -> None:
    """One token as a segment: its probability among those that pass (χ²)."""
    used = lettered(conditional=False)
    letters = "abcdeghi nort"
    draws = 3000
    asks = [Ask(ids=tuple(text_ids(used.tokenizer, "the")), seed=(4, n)) for n in range(draws)]
    guide = Rollback(Allowed(letters), 1.0, retries=1000, segments="window", window=1)
    found = dict(generate(used, None, "none", asks, max_tokens=1, guides=[guide], batch=500))
    counts = Counter(each.text for each in found.values())
    ids = [used.tokenizer.eos_token_id, *asks[0].ids]
    with torch.no_grad():
        scores = used.model(input_ids=torch.tensor([ids])).logits[0, -1]
    specials = [
        i for i in range(len(used.tokenizer)) if used.tokenizer.decode([i]).startswith("<|")
    ]
    scores[[t for t in specials if t != ids[0]]] = -math.inf
    shares = scores.softmax(-1).numpy()
    wanted: Counter[str] = Counter()
    for token, share in enumerate(shares):
        text = "" if token == ids[0] else used.tokenizer.decode([token])
        # A text that ends at once has no segment that could fail.
        if not text or text[0] in letters:
            wanted[text] += float(share)
    total = sum(wanted.values())
    kinds = sorted(wanted, key=lambda text: -wanted[text])
    assert set(counts) <= set(kinds)
    common = [text for text in kinds if wanted[text] / total * draws >= 5]
    seen = [*(counts[text] for text in common), draws - sum(counts[text] for text in common)]
    expected = [wanted[text] / total * draws for text in common]
    assert chisquare(seen, [*expected, draws - sum(expected)]).pvalue > 1e-3
    assert len(common) > 5


def test_out_of_retries_it_stops_refuses_or_takes_the_best() -> None:
    never = Allowed("")
    stopped = write([Rollback(never, 1.0, retries=2)])
    assert all(each.text == "" and not each.ended for each in stopped.values())
    refused = write([Rollback(never, 1.0, retries=2, otherwise="refuse", refusal="the hat")])
    assert {each.text.strip() for each in refused.values()} == {"the hat"}
    guide = Rollback(never, 1.0, retries=2)
    write([guide])
    assert all(len(guide.verdicts(n).passed) == 3 for n in range(9))
    best = Rollback(Verdict(), 1.1, retries=2, otherwise="best")
    found = write([best])
    for number in range(9):
        told = best.verdicts(number)
        tries = [told.values[at : at + 3] for at in range(0, len(told.values), 3)]
        texts = [told.texts[at : at + 3] for at in range(0, len(told.texts), 3)]
        wanted = "".join(
            text[int(np.argmax(value))]  # type: ignore[arg-type]
            for value, text in zip(tries, texts, strict=True)
        )
        assert found[number].text == wanted


def test_search_keeps_the_best_of_each_segment() -> None:
    """As many first lines as are tried are those of plain sampling with the same chances."""
    used = lettered(conditional=False)
    ask = Ask(ids=(), seed=(7,))
    (found,) = dict(
        generate(used, SCHEME, "none", [ask], max_tokens=24, guides=[Search(Short(""), 4)])
    ).values()
    tries = [Ask(ids=(), seed=(7, 0, place + 1)) for place in range(4)]
    plain = dict(generate(used, SCHEME, "none", tries, max_tokens=24))
    firsts = [text.text.split("\n")[0] + "\n" * ("\n" in text.text) for text in plain.values()]
    assert len(set(map(len, firsts))) > 1
    assert found.text.startswith(min(firsts, key=len))


def test_steering_adds_a_direction_and_leaves_the_model_as_it_was() -> None:
    used = lettered()
    ids = torch.tensor([text_ids(used.tokenizer, "the cat sat")])
    shift = torch.randn(32, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before = used.model(input_ids=ids, output_hidden_states=True)
        with steering(used.model, shift, layer=-2, strength=0.5):
            steered = used.model(input_ids=ids).logits
        hidden = before.hidden_states[1] + 0.5 * shift
        layer, norm = used.model.model.layers[1], used.model.model.norm
        places = torch.arange(ids.shape[1])[None]
        turned = used.model.model.rotary_emb(hidden, places)
        out = layer(hidden, position_embeddings=turned, attention_mask=None)
        wanted = used.model.lm_head(norm(out[0] if isinstance(out, tuple) else out))
        torch.testing.assert_close(steered, wanted)
        torch.testing.assert_close(used.model(input_ids=ids).logits, before.logits)
    with (
        pytest.raises(ControlError, match="no layer 2"),
        steering(used.model, shift, layer=2, strength=1.0),
    ):
        pass


def test_rectifying_changes_as_little_as_it_can() -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        p, v = rng.dirichlet(np.ones(4)), rng.random(4)
        least = rng.uniform(v.min(), v.max())
        found = tilted(
            *(torch.tensor(x)[None] for x in (p, v)), torch.tensor([least], dtype=torch.float64)
        )[0].numpy()
        assert found.sum() == pytest.approx(1)
        assert found @ v >= least - 1e-9
        if p @ v >= least:
            np.testing.assert_allclose(found, p, atol=1e-12)
            continue
        best = minimize(
            lambda q: float(np.sum(q * np.log(np.maximum(q, 1e-12) / p))),  # noqa: B023
            p,
            bounds=[(0, 1)] * 4,
            constraints=[
                {"type": "eq", "fun": lambda q: q.sum() - 1},
                {"type": "ineq", "fun": lambda q: q @ v - least},  # noqa: B023
            ],
            options={"ftol": 1e-12, "maxiter": 500},
        )
        np.testing.assert_allclose(found, best.x, atol=2e-4)
    only = tilted(torch.tensor([[0.5, 0.5]]), torch.tensor([[0.1, 0.3]]), torch.tensor([0.9]))
    assert only.tolist() == [[0.0, 1.0]]


def test_looking_ahead_drops_what_leads_to_bad() -> None:
    used = lettered()
    asks = [Ask(ids=(), seed=(n,)) for n in range(40)]
    found = dict(
        generate(used, SCHEME, "good", asks, max_tokens=1, guides=[Lookahead(6, drop=0.5)])
    )
    vocabulary = used.tokenizer.get_vocab()
    bad, good, eos = vocabulary["<|bad|>"], vocabulary["<|good|>"], used.tokenizer.eos_token_id
    with torch.no_grad():
        scores = used.model(input_ids=torch.tensor([[eos, good]])).logits[0, -1]
        never = [i for i in range(len(used.tokenizer)) if used.tokenizer.decode([i])[:1] == "<"]
        text = scores.clone()
        text[[*never, eos]] = -math.inf
        top = text.topk(6).indices.tolist()
        after = {
            token: float(
                used.model(input_ids=torch.tensor([[eos, good, token]]))
                .logits[0, -1]
                .log_softmax(-1)[[bad, good]]
                .log_softmax(-1)[0]
            )
            for token in top
        }
    kept = sorted(top, key=lambda token: after[token])[:3]
    assert {each.text for each in found.values()} <= {
        "",
        *(used.tokenizer.decode([token]) for token in kept),
    }
    assert len({each.text for each in found.values()}) > 1


def test_the_ledger_counts_what_went_through_the_model() -> None:
    plain, double, looked = Ledger(), Ledger(), Ledger()
    texts = write(ledger=plain)
    # The prompts once each (three share a pass), and every token but each text's last.
    used = lettered()
    prompts = sum(2 + len(text_ids(used.tokenizer, prompt)) for prompt in PROMPTS)
    assert prompts < plain.written <= prompts + sum(2 * each.tokens + 1 for each in texts.values())
    write([Contrast(0.0)], ledger=double)
    assert double.written == 2 * plain.written
    write([Rollback(Verdict(), 0.0)], ledger=looked)
    assert looked.written == plain.written
    assert looked.looked > 0


@pytest.mark.parametrize(
    ("guide", "conditional", "said"),
    [
        (lambda: Contrast(math.nan), True, "alpha is nan"),
        (lambda: Contrast(1.0), False, "no control tokens"),
        (lambda: Steer(math.inf), True, "strength is inf"),
        (lambda: Search(Verdict(), 0), True, "k = 0"),
        (lambda: Rollback(Verdict(), math.nan), True, "threshold nan"),
        (lambda: Rollback(Verdict()), True, "either a threshold or"),
        (lambda: Rollback(Verdict(), 0.5, rejects=0.1), True, "either a threshold or"),
        (lambda: Rollback(Verdict(), rejects=1.0), True, "rejects 1.0"),
        (lambda: Rollback(Verdict(), 0.5, segments="page"), True, "kind `page`"),  # type: ignore[arg-type]
        (lambda: Lookahead(1), True, "1 candidates"),
        (lambda: Rectify(5, 2.0), True, "decay of 2"),
    ],
)
def test_what_cannot_guide_says_why(guide: object, conditional: bool, said: str) -> None:
    with pytest.raises(ControlError, match=said):
        write([guide()], conditional=conditional)  # type: ignore[operator]


def test_two_that_take_text_back_cannot_work_together() -> None:
    with pytest.raises(ControlError, match="search and rollback would both"):
        write([Search(Verdict(), 2), Rollback(Verdict(), 0.5)])
    both = write([Contrast(0.5), Rollback(Verdict(), 0.2, retries=2)])
    assert both not in (write([Contrast(0.5)]), write())


def test_a_verdict_that_was_never_taught_and_a_cache_that_cannot_step_back_are_refused() -> None:
    used = lettered(conditional=False)
    ask = [Ask(ids=(), seed=(0,))]
    with pytest.raises(ControlError, match="never taught a verdict"):
        list(generate(used, None, "none", ask, max_tokens=4, guides=[Rollback(Verdict(), 0.5)]))
    recurrent = other_family("lfm2")
    guide = Rollback(Allowed("w"), 0.5, segments="window", window=2)
    with pytest.raises(ControlError, match="cannot take back"):
        list(generate(recurrent, None, "none", ask, max_tokens=4, guides=[guide]))


def test_a_threshold_is_found_by_the_share_that_it_rejects() -> None:
    guide = Rollback(Verdict(), rejects=0.3)
    write([guide])
    values = []
    watch = Rollback(Verdict(), -1.0)
    used = lettered()
    asks = [Ask(ids=(), seed=(5, 11, place)) for place in range(64)]
    list(generate(used, SCHEME, "good", asks, max_tokens=24, guides=[watch]))
    for number in range(64):
        values += [value for value in watch.verdicts(number).values if value is not None]
    below = sum(value < guide.threshold for value in values) / len(values)
    assert 0.3 - 2 / len(values) <= below <= 0.3
    assert len(values) > 64
    # Found anew for each model, and the same whatever is asked.
    again = Rollback(Verdict(), rejects=0.3)
    write([again], batch=2)
    assert again.threshold == guide.threshold


class Watched(Rectify):
    """Notes what it thinks of each candidate."""

    def __init__(self) -> None:
        super().__init__(5)
        self.seen: list[torch.Tensor] = []

    def _values(self, states_NKD: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        self.seen.append(super()._values(states_NKD, like))
        return self.seen[-1]


def test_rectify_judges_the_text_without_the_token_of_its_mode() -> None:
    used, guide = lettered(), Watched()
    ask = Ask(ids=tuple(text_ids(used.tokenizer, "the cat\nno")), seed=(3,))
    list(generate(used, SCHEME, "good", [ask], max_tokens=12, guides=[guide]))
    judge = verdict_of(used, SCHEME)
    now = [float(value[0, 0]) for value in guide.seen[1::2]]
    assert now[0] == pytest.approx(alone(used, judge, list(ask.ids)), abs=1e-6)
    assert len(set(now)) > 5
    assert guide.looked > 0


def test_what_starts_a_document_is_read_once() -> None:
    """With a BOS that is not EOS, too."""
    tokenizer = copy.deepcopy(lettered().tokenizer)
    tokenizer.bos_token = "q"
    used = replace(lettered(), tokenizer=tokenizer)
    bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
    assert bos != eos
    ask = Ask(ids=tuple(text_ids(tokenizer, "the cat")), seed=(3,))
    tokens: list[int] = []

    class Noted(Verdict):
        def values(self, said: Sequence[Said], rows: Rows) -> list[float | None]:
            tokens[:] = [t for t in said[0].row.tokens if t not in SCHEME.token_ids(tokenizer)]
            return super().values(said, rows)

    guide = Rollback(Noted(), 0.0, segments="document")
    list(generate(used, SCHEME, "good", [ask], max_tokens=6, guides=[guide]))
    ids = [bos, *ask.ids, *tokens, eos]
    with torch.no_grad():
        states = backbone(used.model)(input_ids=torch.tensor([ids])).last_hidden_state
    (value,) = guide.verdicts(0).values
    assert value == pytest.approx(float(verdict_of(used, SCHEME)(states[0, -1:])[0]), abs=1e-6)


def test_a_pass_for_the_whole_batch_waits_until_it_pays() -> None:
    looks: list[int] = []

    class Counted(Verdict):
        def values(self, said: Sequence[Said], rows: Rows) -> list[float | None]:
            looks.append(len(said))
            return super().values(said, rows)

    used = lettered(conditional=False)
    asks = asks_for(used.tokenizer, PROMPTS, per_prompt=8, seed=0)
    for batch, most in ((24, 3), (1, 1)):
        looks.clear()
        guide = Rollback(Counted(), 0.0)
        list(generate(used, SCHEME, "none", asks, max_tokens=48, batch=batch, guides=[guide]))
        segments = sum(len(guide.verdicts(number).passed) for number in range(len(asks)))
        # Nothing failed: each segment was looked at once.
        assert sum(looks) == segments > 48
        assert len(looks) * most < segments


def test_so_does_a_search_by_a_verdict() -> None:
    looks: list[int] = []

    class Counted(Verdict):
        def values(self, said: Sequence[Said], rows: Rows) -> list[float | None]:
            looks.append(len(said))
            return super().values(said, rows)

    used = lettered(conditional=False)
    asks = asks_for(used.tokenizer, PROMPTS, per_prompt=8, seed=0)
    found = []
    for batch in (48, 2):
        looks.clear()
        guides = [Search(Counted(), 2)]
        found.append(
            dict(generate(used, SCHEME, "none", asks, max_tokens=24, batch=batch, guides=guides))
        )
        if batch == 48:
            # Several asks share a look, although they are ready at different times.
            assert sum(looks) > 2 * 2 * len(looks)
    assert found[0] == found[1]
