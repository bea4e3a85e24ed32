"""Proposers: a local model and a server on this machine, with all that can go wrong."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from planted import LABELS, METRIC, SCHEME, START, recipe, reward, tokenizer
from pydantic import ValidationError
from transformers import PhiConfig, PhiForCausalLM

from valence.data import Failure, Result, Score
from valence.errors import CorpusError, MissingExtraError, MissingFileError, ModelError, RecipeError
from valence.measure.redteam import red_team
from valence.measure.redteam.local import LocalProposer, first_piece, prompt_list
from valence.measure.redteam.server import ServerProposer, bare
from valence.measure.redteam.starting import read_prompts
from valence.model import Checkpoint, save_checkpoint, text_ids
from valence.recipe.redteam import PoolRecipe, RedTeamRecipe, ServerRecipe


@pytest.fixture(scope="module")
def conditional() -> Checkpoint:
    words = tokenizer()
    shape = PhiConfig(
        vocab_size=len(words),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=64,
        initializer_range=0.2,
        bos_token_id=0,
        eos_token_id=0,
    )
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = PhiForCausalLM(shape).eval()
    # Bytes at random are no text: each would be read again as three others.
    for index in words.get_vocab().values():
        if not words.decode([index]).isascii():
            model.lm_head.bias.data[index] = -20.0
    return Checkpoint(model=model, tokenizer=words, scheme=SCHEME, segmenter="line")


def length(texts: Sequence[str]) -> list[Result]:
    return [Score(value=-len(text) / 100) for text in texts]


def test_a_list_of_prompts_and_what_follows_it() -> None:
    assert prompt_list(["one", "two\n"]) == ("one\ntwo\n", "\n")
    assert prompt_list(["def f():\n    pass\n", "x"]) == ("def f():\n    pass\n\nx\n\n", "\n\n")
    assert first_piece("\n  \n three\nfour", "\n") == " three"
    assert first_piece("a\nb\n\nc", "\n\n") == "a\nb"
    assert isinstance(first_piece(" \n\n", "\n"), Failure)


def test_a_local_model_proposes_the_same_for_the_same_seed(conditional: Checkpoint) -> None:
    proposer = LocalProposer(conditional, SCHEME, max_tokens=12)
    one, two, other = (proposer.propose(["the cat", "a dog"], 3, seed) for seed in (1, 1, 2))
    assert len(one) == 3 and one == two != other
    texts = [text for text in (*one, *other) if isinstance(text, str)]
    assert texts and all(text.strip() and "\n" not in text for text in texts)
    assert not any(token in text for token in SCHEME.tokens for text in texts)


def test_a_list_too_long_for_the_model_loses_its_first_prompts(conditional: Checkpoint) -> None:
    proposer = LocalProposer(conditional, SCHEME, max_tokens=12)
    prompts = [f"the cat sat on the mat {number}" for number in range(9)]
    ids, _ = proposer._list(prompts)
    text = conditional.tokenizer.decode(list(ids))
    assert text.endswith("mat 8\n") and "mat 0" not in text and len(ids) <= 64 - 12 - 2
    assert proposer._list(prompts[:1])[0] == tuple(
        text_ids(conditional.tokenizer, prompts[0] + "\n")
    )
    assert len(proposer.propose(prompts, 2, 0)) == 2


@pytest.mark.parametrize("mode", ["good", "bad"])
def test_all_attacks_run_on_a_model_of_our_own(
    conditional: Checkpoint, tmp_path: Path, mode: str
) -> None:
    tree = {
        "methods": ["pool", "random", "greedy", "gcg"],
        "completions": 3,
        "confirm": 4,
        "max_tokens": 6,
        "resamples": 100,
        "batch": 5,
        "pool": {"start": 2, "rounds": 2, "trials": 2, "exemplars": 2, "prompt_tokens": 20},
        "search": {
            "tokens": 5,
            "rounds": 2,
            "steps": 2,
            "candidates": 6,
            "top_k": 8,
            "batch": 4,
            "target_samples": 4,
            "target_count": 2,
            "target_tokens": 6,
        },
    }
    found = red_team(
        conditional,
        SCHEME,
        mode,
        RedTeamRecipe.model_validate_json(json.dumps(tree)),
        METRIC,
        length,
        metric_name="short",
        model_name="tiny",
        seed=0,
        work=tmp_path,
    )
    names = {row.metric.removeprefix("redteam_").removesuffix("@short") for row in found.rows}
    assert names >= {"pool", "random", "greedy", "gcg", "unprompted"} | {
        f"{attack}_control{what}" for attack in ("pool", "search") for what in ("", "_mean")
    }
    for name in ("pool", "pool_control", "random", "greedy", "gcg", "search_control"):
        (row,) = [r for r in found.rows if r.metric == f"redteam_{name}@short"]
        assert row.value is not None and row.low is not None and row.count <= 4
    assert {line.kind for line in found.series} == {
        *("redteam", "redteam_calls", "redteam_objective")
    }


def test_a_proposer_from_a_directory(conditional: Checkpoint, tmp_path: Path) -> None:
    save_checkpoint(
        tmp_path, conditional.model, conditional.tokenizer, SCHEME, SCHEME, {"segmenter": "line"}
    )
    loaded = LocalProposer.load(tmp_path, max_tokens=12)
    here = LocalProposer(conditional, SCHEME, max_tokens=12)
    assert loaded.mode == here.mode == "banned"
    assert loaded.propose(["the cat"], 2, 3) == here.propose(["the cat"], 2, 3)


@dataclass
class Server:
    """Answers with what is scripted: a status, or the text of a completion."""

    script: list[int | str | None]
    url: str = ""
    seen: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    refusal: str = ""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    told = Server(script=[])

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.seen.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            told.keys.append(self.headers["Authorization"])
            answer = told.script.pop(0)
            status = answer if isinstance(answer, int) else 200
            message = {"role": "assistant", "content": answer}
            choice = {"index": 0, "finish_reason": "stop", "message": message}
            rest = {"id": "1", "object": "chat.completion", "created": 0, "model": "m"}
            said = {"error": {"message": told.refusal}} if status != 200 else {"choices": [choice]}
            body = json.dumps({**rest, **said}).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        told.url = f"http://127.0.0.1:{listening.server_address[1]}/v1"
        thread = threading.Thread(target=listening.serve_forever, args=(0.01,))
        thread.start()
        yield told
        listening.shutdown()
        thread.join()


def test_a_server_writes_prompts_and_its_failures_are_none(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openai")
    monkeypatch.setenv("PROPOSER_KEY", "secret")
    server.script = ["3. a new one", 500, "", '"quoted"', None]
    recipe = ServerRecipe(
        base_url=server.url, model="m", key_variable="PROPOSER_KEY", retries=0, timeout=10.0
    )
    with ServerProposer(recipe, max_tokens=9) as proposer:
        found = proposer.propose(["first", "second"], 5, 7)
    assert [found[0], found[3]] == ["a new one", "quoted"]
    kinds = [each.kind for each in found if isinstance(each, Failure)]
    assert kinds == ["InternalServerError", "empty", "empty"]
    assert server.keys == ["Bearer secret"] * 5
    said = server.seen[0]["messages"][0]["content"]
    assert "\n1. first\n2. second\n3." in said
    assert [each["seed"] for each in server.seen] == [7, 8, 9, 10, 11]
    assert server.seen[0]["max_tokens"] == 9


def test_the_client_asks_again_before_a_request_has_failed(server: Server) -> None:
    pytest.importorskip("openai")
    server.script = [503, "there"]
    recipe = ServerRecipe(base_url=server.url, model="m", retries=1)
    with ServerProposer(recipe, max_tokens=9) as proposer:
        assert proposer.propose([], 1, 0) == ["there"]
    assert len(server.seen) == 2


def test_nobody_there_is_a_failure_and_not_a_prompt(server: Server) -> None:
    pytest.importorskip("openai")
    recipe = ServerRecipe(base_url="http://127.0.0.1:9/v1", model="m", retries=0, timeout=5.0)
    with ServerProposer(recipe, max_tokens=9) as proposer:
        (found,) = proposer.propose(["a"], 1, 0)
    assert isinstance(found, Failure) and found.kind == "APIConnectionError"


def test_a_missing_key_or_client_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("openai")
    recipe = ServerRecipe(base_url="http://127.0.0.1:9/v1", model="m", key_variable="NO_SUCH_KEY")
    with pytest.raises(RecipeError, match="NO_SUCH_KEY"):
        ServerProposer(recipe, max_tokens=9)
    monkeypatch.setattr("valence.measure.redteam.server.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"valence\[openai\]"):
        ServerProposer(recipe, max_tokens=9)


def test_a_server_that_refuses_the_key_ends_the_attack_and_keeps_it_secret(
    server: Server, weak: tuple[Checkpoint, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openai")
    monkeypatch.setenv("PROPOSER_KEY", "s3cret")
    server.refusal = "Incorrect API key provided: s3cret"
    server.script = [401] * 12
    asked = ServerRecipe(base_url=server.url, model="m", key_variable="PROPOSER_KEY", retries=0)
    plan = recipe("pool", completions=2)
    pool = plan.pool.model_copy(update={"server": asked})
    with pytest.raises(ModelError, match="in round 1 \\(12 AuthenticationError") as told:
        red_team(
            *(weak[0], None, "none", plan.model_copy(update={"pool": pool}), METRIC, reward),
            **(LABELS | {"work": tmp_path, "prompts": START}),
        )
    assert "Incorrect API key" in str(told.value) and "s3cret" not in str(told.value)
    kept = "".join(path.read_text("utf-8") for path in tmp_path.iterdir())
    assert "s3cret" not in kept


def test_an_answer_is_taken_out_of_its_wrapping() -> None:
    assert bare(" 12. “go on” ") == "go on"
    assert bare('"') == '"'
    assert bare("3.5 apples") == "3.5 apples"
    assert isinstance(bare('""'), Failure)


def test_prompts_are_read_from_text_and_json_lines(tmp_path: Path) -> None:
    lines, rows = tmp_path / "a.txt", tmp_path / "b.jsonl"
    lines.write_text("one\n\n two\n", encoding="utf-8")
    rows.write_text('{"ask": "x\\ny"}\n\n{"ask": "z"}\n', encoding="utf-8")
    assert read_prompts(lines) == ["one", " two"]
    assert read_prompts(rows, "ask") == ["x\ny", "z"]
    with pytest.raises(CorpusError, match=r"line 1: has no text under `text`"):
        read_prompts(rows)
    with pytest.raises(MissingFileError):
        read_prompts(tmp_path / "none.txt")


def test_a_recipe_names_each_attack_once_and_one_proposer() -> None:
    with pytest.raises(ValidationError, match="twice"):
        RedTeamRecipe(methods=("gcg", "gcg"))
    with pytest.raises(ValidationError, match="not both"):
        PoolRecipe(proposer="models/a", server=ServerRecipe(base_url="http://x", model="m"))
    plain = RedTeamRecipe()
    assert RedTeamRecipe.model_validate_json(plain.model_dump_json()) == plain
    assert (plain.pool.rounds, plain.pool.trials, plain.pool.exemplars) == (10, 10, 4)
