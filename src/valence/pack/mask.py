"""What each token of a packed row sees, and its position in its document.

Legend: B rows, T tokens, M = T keys.
"""

from __future__ import annotations

import torch


def positions_and_mask(
    documents_BT: torch.Tensor, forks_BT: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Position ids [B, T] and which keys each query may attend to [B, 1, T, T].

    A token sees those before it in its own document and itself; a fork is seen by nobody
    else. A position is the number of main tokens before it in its document within the row,
    so a fork's is that of the token that would follow.
    """
    length = documents_BT.shape[1]
    index_T = torch.arange(length, device=documents_BT.device)
    main_BT = (
        torch.ones_like(documents_BT) if forks_BT is None else (~forks_BT).to(documents_BT.dtype)
    )
    before_BT = main_BT.cumsum(1) - main_BT
    begins_BT = torch.ones_like(documents_BT, dtype=torch.bool)
    begins_BT[:, 1:] = documents_BT[:, 1:] != documents_BT[:, :-1]
    # A document is one run, and counts only grow: the last begin's is the largest.
    origin_BT = torch.where(begins_BT, before_BT, 0).cummax(1).values
    same_BTT = documents_BT[:, :, None] == documents_BT[:, None, :]
    mask_BTT = same_BTT & (index_T[:, None] >= index_T[None, :])
    if forks_BT is not None:
        itself_TT = index_T[:, None] == index_T[None, :]
        mask_BTT &= ~forks_BT[:, None, :] | itself_TT
    return (before_BT - origin_BT).to(torch.int64), mask_BTT[:, None]


def as_bias(mask_B1TT: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """What is added to the scores of attention instead of a mask: 0, or -inf.

    Given a mask, every layer would make this of it again.
    """
    return torch.zeros_like(mask_B1TT, dtype=dtype).masked_fill_(~mask_B1TT, -torch.inf)
