"""Recurrent networks: language models (AWD-LSTM), and the classifier that grows out of one."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise, zip_longest
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .learner import Learner
from .saved import DamagedFile

__all__ = [
    "RNN_Learner",
    "get_language_model",
    "get_rnn_classifier",
    "repackage_var",
    "seq2seq_reg",
]

State = tuple[Tensor, Tensor]  # h and c of a layer of LSTM, each (1, n, width)


def repackage_var(h: Any) -> Any:
    """A hidden state, tensor or tuples of them, cut off from how it came about. Used in lesson 6.

    The same numbers, in a tuple where they were in a list; back-propagation ends there.
    """
    if isinstance(h, Tensor):
        return h.detach()
    return tuple(repackage_var(v) for v in h)


class LockedDropout(nn.Dropout):
    """Dropout of (t, n, c) with one mask for all of time: (1, n, c) (arXiv:1512.05287)."""

    def forward(self, x: Tensor) -> Tensor:
        if not (self.training and self.p):
            return x
        mask = F.dropout(torch.ones_like(x[:1]), self.p)  # (1, n, c): 0 or 1 / (1 - p)
        return x * mask


class WeightDropLSTM(nn.LSTM):
    """A layer of LSTM that drops weights in training (arXiv:1708.02182).

    A share `wdrop` of those from hidden to hidden is 0, others at each call. Inputs (t, n, n_in)
    and the state (h, c), each (1, n, n_out), to the outputs (t, n, n_out) and the state after them.
    """

    weight_ih_l0: Tensor
    weight_hh_l0: Tensor
    bias_ih_l0: Tensor
    bias_hh_l0: Tensor

    def __init__(self, n_in: int, n_out: int, wdrop: float) -> None:
        super().__init__(n_in, n_out)
        self.wdrop = wdrop

    # Rounding adds up over time, and autocast knows the kernel as float16 only.
    @torch.autocast("cuda", enabled=False)
    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        if not (self.training and self.wdrop):
            return super().forward(x, state)
        dropped = F.dropout(self.weight_hh_l0, self.wdrop)
        weights = [self.weight_ih_l0, dropped, self.bias_ih_l0, self.bias_hh_l0]
        out, h, c = torch.lstm(  # what nn.LSTM calls
            x,
            state,
            _in_one_piece(weights) if x.is_cuda else list(weights),
            has_biases=True,
            num_layers=1,
            dropout=0.0,  # between layers
            train=True,
            bidirectional=False,
            batch_first=False,
        )
        return out, (h, c)


def _in_one_piece(weights: Sequence[Tensor]) -> list[Tensor]:
    """Equal tensors, one behind the other in memory: cuDNN copies (and complains of) others."""
    flat = torch.cat([w.flatten() for w in weights])
    pieces = flat.split([w.numel() for w in weights])
    return [piece.view_as(w) for piece, w in zip(pieces, weights, strict=True)]


class RNN_Encoder(nn.Module):
    """Embedding and LSTMs of AWD-LSTM (arXiv:1708.02182): tokens (t, n) to outputs (t, n, emb_sz).

    The outputs are the last layer's. `n_hid`: width of the layers but the last. `dropoute` drops
    words, `dropouti` parts of embeddings, `dropouth` outputs between layers, `wdrop` weights from
    hidden to hidden. Used in lesson 4.

    `hidden`: (h, c) of each layer, (1, n, width), where the last batch ended. It goes on into the
    next batch until `reset`, or a batch of another width n.
    `words`: the vocabulary that the rows of the embedding stand for, where it is known. It is saved
    with the weights, and weights for other words are refused (ValueError).
    """

    def __init__(
        self,
        n_tok: int,
        emb_sz: int,
        n_hid: int,
        n_layers: int,
        dropouth: float = 0.3,
        dropouti: float = 0.5,
        dropoute: float = 0.1,
        wdrop: float = 0.5,
    ) -> None:
        super().__init__()
        if n_layers < 1:
            raise ValueError(f"n_layers must be 1 or more, not {n_layers}")
        self.encoder = nn.Embedding(n_tok, emb_sz)
        nn.init.uniform_(self.encoder.weight, -0.1, 0.1)
        self.dropoute = dropoute
        self.widths = [n_hid] * (n_layers - 1) + [emb_sz]  # of the layers
        steps = pairwise([emb_sz, *self.widths])
        self.rnns = nn.ModuleList([WeightDropLSTM(n_in, n_out, wdrop) for n_in, n_out in steps])
        self.dropouti = LockedDropout(dropouti)
        self.dropouths = nn.ModuleList([LockedDropout(dropouth) for _ in self.widths[:-1]])
        self.hidden: Sequence[State] = ()
        self.words: list[str] | None = None
        self.register_state_dict_post_hook(_save_words)
        self.register_load_state_dict_pre_hook(_check_words)

    def reset(self) -> None:
        """Forget the text read so far."""
        self.hidden = ()

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.dropouti(self._embed(tokens))  # (t, n, emb_sz)
        after = []
        for i, (rnn, state) in enumerate(zip(self.rnns, self._states(x), strict=True)):
            if i > 0:
                x = self.dropouths[i - 1](x)
            x, state = rnn(x, state)  # (t, n, n_hid), of the last layer (t, n, emb_sz)
            after.append(state)
        self.hidden = repackage_var(after)
        return x

    def _embed(self, tokens: Tensor) -> Tensor:
        emb = self.encoder(tokens)  # (t, n, emb_sz)
        if not (self.training and self.dropoute):
            return emb
        n_tok = self.encoder.num_embeddings
        words = F.dropout(emb.new_ones(n_tok, 1), self.dropoute)  # a number for each word
        return emb * words[tokens]  # as if rows of the table were dropped, without a copy of it

    def _states(self, x: Tensor) -> list[State]:
        """(h, c) of each layer, where the last batch ended; 0 at the start of a text."""
        _, n, _ = x.shape
        goes_on = self.hidden and all(h.shape[1] == n for h, _ in self.hidden)
        if goes_on:
            return [(h.to(x), c.to(x)) for h, c in self.hidden]
        zeros = [x.new_zeros(1, n, width) for width in self.widths]
        return [(zero, zero) for zero in zeros]


def _save_words(
    encoder: nn.Module, state: Mapping[str, Any], prefix: str, metadata: dict[str, Any]
) -> None:
    """Put the words into what torch saves beside the weights of a module."""
    metadata["words"] = encoder.words


def _check_words(
    encoder: nn.Module, state: Mapping[str, Any], prefix: str, metadata: dict[str, Any], *rest: Any
) -> None:
    """Refuse weights for other words before any of them is read."""
    there = metadata.get("words")
    here = cast(RNN_Encoder, encoder).words
    if there is None or here is None or there == here:  # None: nobody has said which
        return
    for i, (other, own) in enumerate(zip_longest(there, here)):
        if other != own:
            raise ValueError(f"weights for another vocabulary: token {i} is {other!r}, not {own!r}")


class MultiBatchRNN(RNN_Encoder):
    """`RNN_Encoder` for whole texts, padded behind, read `bptt` tokens at a time. Used in lesson 4.

    Tokens (longest, n) to outputs (t, n, emb_sz), and which of them are to be pooled, bool (t, n):
    the last `max_seq` of each text. t is at most `longest`: pieces before those are left out.
    ValueError, in evaluation, for a text with `pad_token` before one of its words.
    """

    def __init__(
        self,
        bptt: int,
        max_seq: int,
        pad_token: int,
        n_tok: int,
        emb_sz: int,
        n_hid: int,
        n_layers: int,
        **dropouts: float,
    ) -> None:
        super().__init__(n_tok, emb_sz, n_hid, n_layers, **dropouts)
        self.bptt = bptt
        self.max_seq = max_seq
        self.pad_token = pad_token

    def forward(  # type: ignore[override]  # it returns the mask as well
        self, tokens: Tensor
    ) -> tuple[Tensor, Tensor]:
        self.reset()
        lengths = self._lengths(tokens)
        first = self._first_pooled(lengths, len(tokens))
        pooled = []
        for start in range(0, len(tokens), self.bptt):
            raw = super().forward(tokens[start : start + self.bptt])  # (bptt, n, emb_sz) or shorter
            if start >= first:  # of those before only the state is kept
                pooled.append(raw)
        steps = torch.arange(first, len(tokens), device=tokens.device).unsqueeze(1)  # (t, 1)
        mask = (steps < lengths) & (steps >= lengths - self.max_seq)  # (t, n)
        return torch.cat(pooled), mask

    def _lengths(self, tokens: Tensor) -> Tensor:
        """Of each text, (n,); 1 for one of padding alone, so that there is something to pool."""
        real = tokens != self.pad_token  # (longest, n)
        if not self.training and bool((real[1:] > real[:-1]).any()):  # looking stalls a GPU
            raise ValueError("a text has padding before or between its words: fill it up behind")
        return real.sum(0).clamp(min=1)

    def _first_pooled(self, lengths: Tensor, longest: int) -> int:
        """The first step of the first piece of which a text needs an output."""
        if longest <= self.max_seq:
            return 0  # mostly so; looking at the lengths stalls a GPU
        needless = max(int(lengths.min()) - self.max_seq, 0)
        return needless // self.bptt * self.bptt


class LinearDecoder(nn.Module):
    """Scores of the next token: the weights are those of the embedding (arXiv:1608.05859).

    Outputs (t, n, c) to the scores (t * n, n_tok), the outputs, and the outputs after `dropout`.
    """

    def __init__(self, embedding: nn.Embedding, dropout: float) -> None:
        super().__init__()
        self.dropout = LockedDropout(dropout)
        self.decoder = nn.Linear(embedding.embedding_dim, embedding.num_embeddings, bias=False)
        self.decoder.weight = embedding.weight

    def forward(self, raw: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        dropped = self.dropout(raw)  # (t, n, c)
        scores = self.decoder(dropped.flatten(0, 1))  # (t * n, n_tok)
        return scores, raw, dropped  # the last two for `seq2seq_reg`


class PoolingLinearClassifier(nn.Module):
    """Log-probabilities (n, classes) from the last, the largest and the mean output of each text.

    Takes what `MultiBatchRNN` returns (arXiv:1801.06146). `layers`: widths, the first 3 * c, the
    last the number of classes; `drops`: the dropout before each linear layer.
    """

    def __init__(self, layers: Sequence[int], drops: Sequence[float]) -> None:
        super().__init__()
        if len(drops) != len(layers) - 1:
            raise ValueError(f"{len(layers) - 1} linear layers, but {len(drops)} drops")
        blocks: list[nn.Module] = []
        for (n_in, n_out), p in zip(pairwise(layers), drops, strict=True):
            blocks += [nn.BatchNorm1d(n_in), nn.Dropout(p), nn.Linear(n_in, n_out), nn.ReLU()]
        blocks.pop()  # no ReLU behind the last
        self.layers = nn.Sequential(*blocks)

    def forward(self, outputs: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        raw, mask = outputs  # (t, n, c), (t, n)
        log_probs = F.log_softmax(self.layers(_pool(raw, mask)), 1)  # (n, classes)
        return log_probs, raw, raw  # the last two for `seq2seq_reg`


def _pool(raw: Tensor, mask: Tensor) -> Tensor:
    """Last, largest and mean of the outputs (t, n, c) that `mask` (t, n) has, side by side."""
    t, n, _ = raw.shape
    steps = torch.arange(t, device=raw.device).unsqueeze(1)  # (t, 1)
    last_step = (steps * mask).amax(0)  # (n,)
    last = raw[last_step, torch.arange(n, device=raw.device)]  # (n, c)
    real = mask.unsqueeze(2)  # (t, n, 1)
    largest = raw.masked_fill(~real, -math.inf).amax(0)  # (n, c)
    mean = (raw * real).sum(0) / real.sum(0)  # (n, c)
    return torch.cat([last, largest, mean], 1)  # (n, 3 * c)


class SequentialRNN(nn.Sequential):
    """An encoder, m[0], and the head that stands on it, m[1]."""

    @property
    def encoder(self) -> RNN_Encoder:
        """m[0]: embedding and LSTMs."""
        return cast(RNN_Encoder, self[0])

    def reset(self) -> None:
        """Forget the text read so far."""
        self.encoder.reset()


def get_language_model(
    n_tok: int,
    emb_sz: int,
    n_hid: int,
    n_layers: int,
    dropout: float = 0.4,
    **dropouts: float,
) -> SequentialRNN:
    """AWD-LSTM (arXiv:1708.02182). Used in lesson 4.

    Tokens (t, n) to (scores (t * n, n_tok), outputs (t, n, emb_sz), outputs after `dropout`).
    `dropouts`: dropouth, dropouti, dropoute, wdrop (see `RNN_Encoder`).
    """
    encoder = RNN_Encoder(n_tok, emb_sz, n_hid, n_layers, **dropouts)
    return SequentialRNN(encoder, LinearDecoder(encoder.encoder, dropout))


def get_rnn_classifier(
    bptt: int,
    max_seq: int,
    n_class: int,
    n_tok: int,
    emb_sz: int,
    n_hid: int,
    n_layers: int,
    pad_token: int,
    layers: Sequence[int],
    drops: Sequence[float],
    **dropouts: float,
) -> SequentialRNN:
    """Texts (longest, n), padded behind, to (log-probabilities (n, n_class), outputs, outputs).

    Reads `bptt` tokens at a time; pools the last `max_seq` of each text, whatever the others in its
    batch. `layers`: widths, from 3 * emb_sz to n_class, else ValueError; `drops`: dropout before
    each linear layer; `dropouts` as in `RNN_Encoder`. Used in lesson 4.
    """
    if (layers[0], layers[-1]) != (3 * emb_sz, n_class):
        raise ValueError(
            f"layers must go from 3 * emb_sz = {3 * emb_sz} to n_class = {n_class}, not {layers}"
        )
    encoder = MultiBatchRNN(bptt, max_seq, pad_token, n_tok, emb_sz, n_hid, n_layers, **dropouts)
    return SequentialRNN(encoder, PoolingLinearClassifier(layers, drops))


def seq2seq_reg(
    out: Tensor, extra: Sequence[Tensor], loss: Tensor, alpha: float = 0, beta: float = 0
) -> Tensor:
    """loss + alpha * mean square of outputs + beta * that of their steps (arXiv:1708.01009).

    A `reg_fn` of `Learner`. `extra`: the outputs, (t, n, c), and the same after dropout, of which
    the squares are taken; a step is the difference to the output before. Used in lesson 4.
    """
    raw, dropped = (o.float() for o in extra)
    steps = raw.diff(dim=0) if len(raw) > 1 else torch.zeros_like(raw)  # (t - 1, n, c)
    return loss + alpha * dropped.square().mean() + beta * steps.square().mean()


class RNN_Learner(Learner):
    """A `Learner` of an encoder and what stands on it. Used in lesson 4."""

    def get_layer_groups(self) -> list[nn.Module]:
        """Each LSTM, then embedding and decoder, which share their weights, as one.

        Of a classifier the embedding, each LSTM, the head.
        """
        encoder = self._network.encoder
        head = self._network[1]
        if isinstance(head, LinearDecoder):
            return [*encoder.rnns, nn.ModuleList([encoder.encoder, head])]
        return [encoder.encoder, *encoder.rnns, head]

    def save_encoder(self, name: str) -> None:
        """Write the weights of the encoder alone, and its vocabulary, to models/NAME.pt."""
        self._encoder_alone().save(name)

    def load_encoder(self, name: str) -> None:
        """Read an encoder that `save_encoder` wrote.

        ValueError, and the model as it was, if its vocabulary or its sizes are others, or the file
        is damaged.
        """
        try:
            self._encoder_alone().load(name)
        except DamagedFile:
            raise
        except ValueError as e:
            raise ValueError(
                f"encoder {name!r} is of another vocabulary or other sizes: {e}"
            ) from None

    @property
    def _network(self) -> SequentialRNN:
        return cast(SequentialRNN, self.model)

    def _encoder_alone(self) -> Learner:
        """Whose weights are the encoder's, in the same memory."""
        return Learner(self.data, self._network.encoder)
