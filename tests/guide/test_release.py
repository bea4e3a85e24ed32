"""What leaves while texts are written: pieces, stops, cancelling; and what does not fit."""

from __future__ import annotations

import re
from collections.abc import Callable
from types import SimpleNamespace

import pytest
from lettered import SCHEME, lettered
from test_guides import PROMPTS, Allowed

from valence.errors import ModelError
from valence.guide import Guide, Rollback, Search, Verdict, asks_for, generate, room
from valence.guide.release import Wishes


def streamed(
    guides: list[Guide], *, stops: tuple[str, ...] = (), batch: int = 9
) -> tuple[dict[int, str], dict[int, list[str]]]:
    used = lettered(conditional=False)
    asks = asks_for(used.tokenizer, PROMPTS, per_prompt=3, seed=0)
    pieces: dict[int, list[str]] = {number: [] for number in range(len(asks))}
    wishes = Wishes(on_text=lambda number, text: pieces[number].append(text), stops=stops)
    texts = generate(
        used, SCHEME, "none", asks, max_tokens=24, guides=guides, wishes=wishes, batch=batch
    )
    return {number: each.text for number, each in texts}, pieces


@pytest.mark.parametrize(
    "guides",
    [
        list,
        lambda: [Rollback(Verdict(), 0.1, retries=3)],
        lambda: [Search(Verdict(), 3)],
        lambda: [Rollback(Allowed(""), 1.0, retries=1, otherwise="refuse", refusal="no one")],
    ],
    ids=["plain", "rollback", "search", "refusal"],
)
def test_pieces_make_the_text_and_none_is_ever_taken_back(
    guides: Callable[[], list[Guide]],
) -> None:
    texts, pieces = streamed(guides())
    assert {number: "".join(each) for number, each in pieces.items()} == texts
    assert all(piece for each in pieces.values() for piece in each)


def test_plain_text_comes_piece_by_piece() -> None:
    _, pieces = streamed([])
    assert max(map(len, pieces.values())) > 8


def test_a_text_ends_before_the_first_stop_and_no_part_of_it_is_shown() -> None:
    whole, _ = streamed([])
    # Two characters that stand in the middle of some text.
    text = next(each for each in whole.values() if re.search(r"..[a-z]{2}..", each, re.S))
    stop = re.search(r"..([a-z]{2})..", text, re.S).group(1)  # type: ignore[union-attr]
    stopped, pieces = streamed([], stops=(stop, "never there"))
    for number, each in whole.items():
        assert stopped[number] == each.split(stop)[0]
        assert "".join(pieces[number]) == stopped[number]
    assert any(stopped[number] != each for number, each in whole.items())


def test_who_is_cancelled_ends_and_the_others_do_not_notice() -> None:
    used = lettered(conditional=False)
    asks = asks_for(used.tokenizer, PROMPTS, per_prompt=1, seed=0)
    plain = dict(generate(used, SCHEME, "none", asks, max_tokens=24))
    shown: list[str] = []
    wishes = Wishes(
        on_text=lambda number, text: shown.append(text) if number == 1 else None,
        cancelled=lambda number: number == 1 and len(shown) > 2,
    )
    found = dict(generate(used, SCHEME, "none", asks, max_tokens=24, wishes=wishes))
    assert {0: found[0], 2: found[2]} == {0: plain[0], 2: plain[2]}
    assert plain[1].text.startswith(found[1].text)
    assert 0 < found[1].tokens < plain[1].tokens
    texts = generate(used, SCHEME, "none", asks, max_tokens=24)
    next(texts)
    texts.close()


def test_what_does_not_fit_into_memory_is_told_with_what_would(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    used = lettered()
    asks = asks_for(used.tokenizer, [""], per_prompt=64, seed=0)
    # Two layers of two heads of 8, keys and values, in float64.
    each = 2 * 2 * 2 * 8 * 8
    assert room.bytes_per_token(used.model) == each
    monkeypatch.setattr(room, "free_bytes", lambda _: each * 2 * (2 + 2 * 24) * 40)
    guides: list[Guide] = [Search(Verdict(), 4)]
    with pytest.raises(ModelError, match="a batch of 9 would fit") as caught:
        next(generate(used, SCHEME, "good", asks, max_tokens=24, guides=guides, batch=64))
    assert "64 rows of up to 50 tokens" in str(caught.value)
    list(generate(used, SCHEME, "good", asks[:8], max_tokens=24, guides=guides, batch=32))


def test_free_memory_is_read_where_it_is_told() -> None:
    found = room.free_bytes(SimpleNamespace(type="cpu"))  # type: ignore[arg-type]
    assert found is None or found > 2**20
    assert room.free_bytes(SimpleNamespace(type="tpu")) is None  # type: ignore[arg-type]
