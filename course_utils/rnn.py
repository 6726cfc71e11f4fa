"""Recurrent networks: language models (AWD-LSTM), and the sentiment classifier that grows out of one."""

import math
import warnings
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .learner import Learner

__all__ = [
    "RNN_Learner",
    "get_language_model",
    "get_rnn_classifier",
    "repackage_var",
    "seq2seq_reg",
]

# Weights after dropout are new at each call, so no kernel finds them in one piece.
warnings.filterwarnings("ignore", "RNN module weights are not part of single contiguous")


def repackage_var(h: Any) -> Any:
    """A hidden state, tensor or tuples of them, cut off from how it came about: where back-propagation ends."""
    return h.detach() if isinstance(h, Tensor) else tuple(repackage_var(v) for v in h)


class LockedDropout(nn.Dropout):
    """Dropout of (t, n, c) with one mask for all of time: (1, n, c) (arXiv:1512.05287)."""

    def forward(self, x: Tensor) -> Tensor:
        return x * F.dropout(torch.ones_like(x[:1]), self.p) if self.training and self.p else x


class WeightDropLSTM(nn.LSTM):
    """A layer of LSTM; in training, a share `wdrop` of the weights from hidden to hidden is 0 (arXiv:1708.02182)."""

    def __init__(self, n_in: int, n_out: int, wdrop: float) -> None:
        super().__init__(n_in, n_out)
        self.wdrop = wdrop

    @torch.autocast(
        "cuda", enabled=False
    )  # rounding adds up over time, and autocast knows the kernel as float16 only
    def forward(self, x: Tensor, state: Sequence[Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        if not (self.training and self.wdrop):
            return super().forward(x, tuple(state))
        w_ih, w_hh, *biases = self.parameters()
        weights = [w_ih, F.dropout(w_hh, self.wdrop), *biases]
        out, h, c = torch.lstm(
            x, state, weights, True, 1, 0.0, True, False, False
        )  # the kernel that nn.LSTM calls
        return out, (h, c)


class RNN_Encoder(nn.Module):
    """Embedding and LSTMs of AWD-LSTM (arXiv:1708.02182): tokens (t, n) to the last layer's outputs (t, n, emb_sz).

    Its state, `hidden`, goes on from batch to batch until `reset`, or a batch of another width. `n_hid`: width of the
    layers but the last. `dropoute` drops words, `dropouti` parts of embeddings, `dropouth` outputs between layers.
    """

    def __init__(self, n_tok: int, emb_sz: int, n_hid: int, n_layers: int, dropouth: float = 0.3, dropouti: float = 0.5,
                 dropoute: float = 0.1, wdrop: float = 0.5) -> None:  # fmt: skip
        super().__init__()
        self.encoder, self.dropoute = nn.Embedding(n_tok, emb_sz), dropoute
        nn.init.uniform_(self.encoder.weight, -0.1, 0.1)
        sizes = [emb_sz, *[n_hid] * (n_layers - 1), emb_sz]
        self.rnns = nn.ModuleList(
            [WeightDropLSTM(n_in, n_out, wdrop) for n_in, n_out in pairwise(sizes)]
        )
        self.dropouti = LockedDropout(dropouti)
        self.dropouths = nn.ModuleList([LockedDropout(dropouth) for _ in self.rnns[:-1]])
        self.reset()

    def reset(self) -> None:
        """Forget the text read so far."""
        self.hidden: Sequence[Sequence[Tensor]] = ()

    def _embed(self, tokens: Tensor) -> Tensor:
        emb = self.encoder(tokens)
        if not (self.training and self.dropoute):
            return emb
        words = F.dropout(emb.new_ones(len(self.encoder.weight), 1), self.dropoute)
        return emb * words[tokens]  # the same as dropping rows of the table, without a copy of it

    def forward(self, tokens: Tensor) -> Tensor:
        raw = x = self.dropouti(self._embed(tokens))
        if not self.hidden or self.hidden[0][0].shape[1] != tokens.shape[1]:
            self.hidden = [[x.new_zeros(1, x.shape[1], rnn.hidden_size)] * 2 for rnn in self.rnns]
        after = []
        for rnn, state, drop in zip(
            self.rnns, self.hidden, [*self.dropouths, nn.Identity()], strict=True
        ):
            raw, h = rnn(x, [s.to(x) for s in state])
            after.append(h)
            x = drop(raw)
        self.hidden = repackage_var(after)
        return raw


class MultiBatchRNN(RNN_Encoder):
    """`RNN_Encoder` for texts padded behind: outputs (t, n, emb_sz), and which are the last `max_seq`, bool (t, n)."""

    def __init__(
        self, bptt: int, max_seq: int, pad_token: int, *sizes: int, **dropouts: float
    ) -> None:
        super().__init__(*sizes, **dropouts)
        self.bptt, self.max_seq, self.pad_token = bptt, max_seq, pad_token

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        self.reset()
        lengths, pieces = (tokens != self.pad_token).sum(0).clamp(min=1), tokens.split(self.bptt)
        unused = (
            int(lengths.min()) - self.max_seq if len(tokens) > self.max_seq else 0
        )  # seldom: it stalls a GPU
        first = max(unused, 0) // self.bptt
        for piece in pieces[:first]:
            super().forward(piece)  # only its state is kept
        raw = torch.cat([RNN_Encoder.forward(self, piece) for piece in pieces[first:]])
        steps = torch.arange(first * self.bptt, len(tokens), device=tokens.device).unsqueeze(1)
        return raw, (steps < lengths) & (steps >= lengths - self.max_seq)


class LinearDecoder(nn.Module):
    """Scores of the next token from outputs (t, n, c): the weights are those of the embedding (arXiv:1608.05859)."""

    def __init__(self, embedding: nn.Embedding, dropout: float) -> None:
        super().__init__()
        self.dropout = LockedDropout(dropout)
        self.decoder = nn.Linear(embedding.embedding_dim, embedding.num_embeddings, bias=False)
        self.decoder.weight = embedding.weight

    def forward(self, raw: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        dropped = self.dropout(raw)
        return self.decoder(dropped.flatten(0, 1)), raw, dropped


class PoolingLinearClassifier(nn.Module):
    """Log-probabilities (n, c) from the last, the largest and the mean output of each text (arXiv:1801.06146)."""

    def __init__(self, layers: Sequence[int], drops: Sequence[float]) -> None:
        super().__init__()
        blocks: list[nn.Module] = []
        for (n_in, n_out), p in zip(pairwise(layers), drops, strict=True):
            blocks += [nn.BatchNorm1d(n_in), nn.Dropout(p), nn.Linear(n_in, n_out), nn.ReLU()]
        self.layers = nn.Sequential(*blocks[:-1])

    def forward(self, outputs: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        raw, mask = outputs
        real, steps = mask.unsqueeze(2), torch.arange(len(raw), device=raw.device).unsqueeze(1)
        last = raw[(steps * mask).amax(0), torch.arange(raw.shape[1], device=raw.device)]
        largest = raw.masked_fill(~real, -math.inf).amax(0)
        mean = (raw * real).sum(0) / real.sum(0)
        return (
            F.log_softmax(self.layers(torch.cat([last, largest, mean], 1)), 1),
            raw,
            raw,
        )  # for `seq2seq_reg`


class SequentialRNN(nn.Sequential):
    """An encoder and what stands on it, m[0] and m[1]."""

    def reset(self) -> None:
        """Forget the text read so far."""
        self[0].reset()


def get_language_model(n_tok: int, emb_sz: int, n_hid: int, n_layers: int, dropout: float = 0.4,
                       **dropouts: float) -> SequentialRNN:  # fmt: skip
    """AWD-LSTM (arXiv:1708.02182): tokens (t, n) to (scores (t * n, n_tok), outputs, outputs after `dropout`).

    `dropouts`: dropouth, dropouti, dropoute, wdrop (see `RNN_Encoder`). Used in lesson 4.
    """
    encoder = RNN_Encoder(n_tok, emb_sz, n_hid, n_layers, **dropouts)
    return SequentialRNN(encoder, LinearDecoder(encoder.encoder, dropout))


def get_rnn_classifier(bptt: int, max_seq: int, n_class: int, n_tok: int, emb_sz: int, n_hid: int, n_layers: int,
                       pad_token: int, layers: Sequence[int], drops: Sequence[float],
                       **dropouts: float) -> SequentialRNN:  # fmt: skip
    """Texts (longest, n), padded behind, to (log-probabilities (n, n_class), outputs, outputs). Used in lesson 4.

    Reads `bptt` tokens at a time; pools the last `max_seq` of each text, whatever the others in its batch. `layers`:
    widths, from 3 * emb_sz to n_class; `drops`: dropout before each linear layer; `dropouts` as in `RNN_Encoder`.
    """
    encoder = MultiBatchRNN(bptt, max_seq, pad_token, n_tok, emb_sz, n_hid, n_layers, **dropouts)
    return SequentialRNN(encoder, PoolingLinearClassifier(layers, drops))


def seq2seq_reg(
    out: Tensor, extra: Sequence[Tensor], loss: Tensor, alpha: float = 0, beta: float = 0
) -> Tensor:
    """loss + alpha * mean square of outputs + beta * that of their steps: a `reg_fn` (arXiv:1708.01009). Lesson 4."""
    raw, dropped = (o.float() for o in extra)
    steps = raw.diff(dim=0) if len(raw) > 1 else torch.zeros_like(raw)
    return loss + alpha * dropped.square().mean() + beta * steps.square().mean()


class RNN_Learner(Learner):
    """A `Learner` of an encoder and what stands on it. Used in lesson 4."""

    def get_layer_groups(self) -> list[nn.Module]:
        """Each LSTM, then embedding and decoder, which are one; of a classifier the embedding, each LSTM, the head."""
        encoder, head = self.model
        if isinstance(head, LinearDecoder):
            return [*encoder.rnns, nn.ModuleList([encoder.encoder, head])]
        return [encoder.encoder, *encoder.rnns, head]

    def save_encoder(self, name: str) -> None:
        """Write the weights of the encoder alone to models/NAME.pt."""
        Learner(self.data, self.model[0]).save(name)

    def load_encoder(self, name: str) -> None:
        """Read an encoder that `save_encoder` wrote; ValueError if its vocabulary or its sizes are others."""
        try:
            Learner(self.data, self.model[0]).load(name)
        except ValueError as e:
            raise ValueError(
                f"encoder {name!r} is of another vocabulary or other sizes: {e}"
            ) from None
