"""Two gloo processes give the loss of one, for every objective, under DDP and under FSDP2.

accelerate offers FSDP on accelerators alone, so that FSDP2 is put around the learner here by
torch's own function, as accelerate does it: every layer, then the whole.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from training_bench import SPECS, Bench

from valence.objective.protocol import IGNORED
from valence.pack.dataset import collate
from valence.run import Result

HERE = Path(__file__).parent

TRAINED = """
import json, sys
from pathlib import Path
from training_bench import SPECS, open_bench
from valence.crew import Crew
from valence.recipe import load_recipe

run, folder = Path(sys.argv[1]), Path(sys.argv[2])
crew = Crew()
bench = open_bench(run, load_recipe(run / "recipe.yaml"))
losses = {}
for name, spec in SPECS.items():
    log = []
    bench.fit(folder / name, spec=spec, log=log.append, learning_rate=1e-3)
    losses[name] = [entry["loss"] for entry in log][:6]
if crew.leads:
    (folder / "losses.json").write_text(json.dumps(losses))
crew.wait()
"""

SHARDED = """
import json, sys
from pathlib import Path
import torch
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from training_bench import SPECS, open_bench
from valence.crew import Crew
from valence.objective.protocol import IGNORED
from valence.pack.dataset import collate
from valence.recipe import load_recipe

run, folder = Path(sys.argv[1]), Path(sys.argv[2])
crew = Crew()
rank = torch.distributed.get_rank()
mesh = init_device_mesh("cpu", (2,))
bench = open_bench(run, load_recipe(run / "recipe.yaml"))
losses = {}
for name, spec in SPECS.items():
    learner, data = bench.pair(spec)
    for layer in learner.model.model.layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(learner, mesh=mesh)
    optimizer = torch.optim.AdamW(learner.parameters(), lr=1e-3)
    losses[name] = []
    for step in range(3):
        rows = [data[8 * step + i] for i in range(8)]
        count = sum(int((row["targets"] != IGNORED).sum()) for row in rows)
        part = collate(rows[4 * rank : 4 * rank + 4])
        loss = learner(**part, count=count)["loss"]
        (2 * loss).backward()
        optimizer.step()
        optimizer.zero_grad()
        total = loss.detach().clone()
        torch.distributed.all_reduce(total)
        losses[name].append(float(total))
if crew.leads:
    (folder / "losses.json").write_text(json.dumps(losses))
crew.wait()
"""


def losses_of_two(run: Path, folder: Path, program: str) -> dict[str, list[float]]:
    folder.mkdir()
    (folder / "program.py").write_text(program)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", "2", str(folder / "program.py"), str(run), str(folder)]
    env = {**os.environ, "PYTHONPATH": str(HERE), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=HERE, env=env, capture_output=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    found: dict[str, list[float]] = json.loads((folder / "losses.json").read_text())
    return found


def test_ddp(bench: Bench, tiny_run: Result, tmp_path: Path) -> None:
    two = losses_of_two(tiny_run.path, tmp_path / "ddp", TRAINED)
    for name, spec in SPECS.items():
        log: list[dict[str, float]] = []
        bench.fit(tmp_path / name, spec=spec, log=log.append, learning_rate=1e-3)
        assert two[name] == pytest.approx([e["loss"] for e in log][:6], rel=1e-3), name


def test_fsdp2(bench: Bench, tiny_run: Result, tmp_path: Path) -> None:
    two = losses_of_two(tiny_run.path, tmp_path / "fsdp2", SHARDED)
    for name, spec in SPECS.items():
        learner, data = bench.pair(spec)
        optimizer = torch.optim.AdamW(learner.parameters(), lr=1e-3)
        losses = []
        for step in range(3):
            batch = collate([data[8 * step + index] for index in range(8)])
            loss = learner(**batch, count=(batch["targets"] != IGNORED).sum())["loss"]
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.item())
        assert two[name] == pytest.approx(losses, rel=1e-4), name
