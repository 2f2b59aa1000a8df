"""Speech and time-series networks: causal and gated convolutions, cells in loops, attention."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


class TemporalBlock(nn.Module):
    """Two dilated causal convolutions (padded on the left) with a shortcut."""

    def __init__(self, channels: int, out: int, kernel: int, dilation: int) -> None:
        super().__init__()
        self.left = (kernel - 1) * dilation
        self.conv1 = nn.Conv1d(channels, out, kernel, dilation=dilation)
        self.conv2 = nn.Conv1d(out, out, kernel, dilation=dilation)
        self.norm1, self.norm2 = nn.BatchNorm1d(out), nn.BatchNorm1d(out)
        self.act1, self.act2 = nn.PReLU(), nn.PReLU(out)
        self.shortcut = nn.Conv1d(channels, out, 1) if channels != out else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[n, channels, steps] -> [n, out, steps]."""
        y = self.norm1(self.act1(self.conv1(F.pad(x, (self.left, 0)))))
        y = self.norm2(self.act2(self.conv2(F.pad(y, (self.left, 0)))))
        return torch.relu(y + self.shortcut(x))


class TCN(nn.Module):
    """A temporal convolutional network with a mean head."""

    def __init__(self, channels: int = 16, width: int = 64, blocks: int = 6) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            *(TemporalBlock(channels if i == 0 else width, width, 3, 1 << i) for i in range(blocks))
        )
        self.head = nn.Linear(width, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[n, channels, steps] -> [n, 10]."""
        return self.head(self.blocks(x).mean(-1))


class GatedConvNet(nn.Module):
    """wav2letter-like: strided convolutions with GLU and group norm, and frame-wise logits."""

    def __init__(self, features: int = 40, width: int = 128, blocks: int = 6) -> None:
        super().__init__()
        self.front = nn.Conv1d(features, 2 * width, 5, stride=2)
        self.convs = nn.ModuleList(nn.Conv1d(width, 2 * width, 5, padding=2) for _ in range(blocks))
        self.norms = nn.ModuleList(nn.GroupNorm(4, width) for _ in range(blocks))
        self.head = nn.Conv1d(width, 29, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[n, features, steps] -> log chances [n, steps / 2, 29]."""
        y = F.glu(self.front(F.pad(x, (2, 3))), dim=1)
        for conv, norm in zip(self.convs, self.norms, strict=True):
            y = norm(y + F.glu(conv(y), dim=1))
        return F.log_softmax(self.head(y).transpose(1, 2), dim=-1)


class Conformer(nn.Module):
    """One stream of conformer blocks: half feed-forwards around attention and a convolution."""

    def __init__(self, features: int = 80, width: int = 144, heads: int = 4, blocks: int = 4):
        super().__init__()
        self.subsample = nn.Sequential(
            *(nn.Conv2d(1, width, 3, 2), nn.ReLU(), nn.Conv2d(width, width, 3, 2), nn.ReLU())
        )
        self.front = nn.Linear(width * (((features - 1) // 2 - 1) // 2), width)
        self.blocks = nn.ModuleList(ConformerBlock(width, heads) for _ in range(blocks))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[n, steps, features] -> [n, steps / 4, width]."""
        y = self.subsample(x.unsqueeze(1))
        n, channels, steps, features = y.shape
        y = self.front(y.transpose(1, 2).reshape(n, steps, channels * features))
        for block in self.blocks:
            y = block(y)
        return y


class ConformerBlock(nn.Module):
    """Feed-forward, self-attention, gated depthwise convolution, feed-forward, norm."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.before, self.after = self._feed(width), self._feed(width)
        self.attention_norm = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.conv_norm = nn.LayerNorm(width)
        self.pointwise = nn.Conv1d(width, 2 * width, 1)
        self.depthwise = nn.Conv1d(width, width, 15, padding=7, groups=width)
        self.batch_norm = nn.BatchNorm1d(width)
        self.back = nn.Conv1d(width, width, 1)
        self.norm = nn.LayerNorm(width)

    @staticmethod
    def _feed(width: int) -> nn.Sequential:
        wide = 4 * width
        return nn.Sequential(
            *(nn.LayerNorm(width), nn.Linear(width, wide), nn.SiLU(), nn.Dropout(0.1)),
            *(nn.Linear(wide, width), nn.Dropout(0.1)),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[n, steps, width] -> the same."""
        x = x + 0.5 * self.before(x)
        y = self.attention_norm(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        y = F.glu(self.pointwise(self.conv_norm(x).transpose(1, 2)), dim=1)
        y = self.back(F.silu(self.batch_norm(self.depthwise(y)))).transpose(1, 2)
        return self.norm(x + y + 0.5 * self.after(x + y))


class CellLoop(nn.Module):
    """Cells called once per step in Python: the trace has a copy of the cell for each step."""

    def __init__(self, kind: type[nn.LSTMCell] | type[nn.GRUCell], width: int = 64) -> None:
        super().__init__()
        self.front = nn.Linear(20, width)
        self.first, self.second = kind(width, width), kind(width, width)
        self.head = nn.Linear(width, 5)
        self.lstm = kind is nn.LSTMCell

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[n, steps, 20] -> [n, steps, 5]."""
        zero = x.new_zeros(x.shape[0], self.first.hidden_size)
        states = [(zero, zero), (zero, zero)]
        outputs = []
        for y in torch.relu(self.front(x)).unbind(1):
            for i, cell in enumerate((self.first, self.second)):
                if self.lstm:
                    states[i] = cell(y, states[i])
                else:
                    states[i] = (cell(y, states[i][0]), zero)
                y = states[i][0]
            outputs.append(self.head(y))
        return torch.stack(outputs, dim=1)


class Streaming(nn.Module):
    """One chunk of a stream: the convolution's context and the LSTM's state come in and go out."""

    def __init__(self, features: int = 40, width: int = 96) -> None:
        super().__init__()
        self.conv = nn.Conv1d(features, width, 5)
        self.lstm = nn.LSTM(width, width, batch_first=True)
        self.head = nn.Linear(width, 30)

    def forward(
        self, x: torch.Tensor, context: torch.Tensor, h: torch.Tensor, c: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """x [n, features, steps], context [n, features, 4], h and c [1, n, width]."""
        x = torch.cat([context, x], dim=2)
        y, (h, c) = self.lstm(F.relu(self.conv(x)).transpose(1, 2), (h, c))
        return self.head(y), x[:, :, -4:], h, c


class PackedTagger(nn.Module):
    """A bidirectional LSTM over sequences of different length."""

    def __init__(self, words: int = 500, width: int = 64) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, width)
        self.lstm = nn.LSTM(width, width, 2, batch_first=True, bidirectional=True)
        self.head = nn.Linear(2 * width, 12)

    def forward(self, ids: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """ids [n, tokens], lengths [n], longest first -> [n, tokens, 12]."""
        packed = nn.utils.rnn.pack_padded_sequence(self.embedding(ids), lengths, batch_first=True)
        y, _ = nn.utils.rnn.pad_packed_sequence(
            self.lstm(packed)[0], batch_first=True, total_length=ids.shape[1]
        )
        return self.head(y)


class Translator(nn.Module):
    """Stock nn.Transformer: encoder, decoder with a causal mask, padding masks."""

    def __init__(self, width: int = 128, heads: int = 4, layers: int = 3, words: int = 1000):
        super().__init__()
        self.source, self.target = nn.Embedding(words, width), nn.Embedding(words, width)
        self.transformer = nn.Transformer(
            *(width, heads, layers, layers, 4 * width), dropout=0.1, batch_first=True
        )
        self.head = nn.Linear(width, words)

    def forward(
        self, source: torch.Tensor, target: torch.Tensor, padding: torch.Tensor
    ) -> torch.Tensor:
        """source, target ids [n, tokens]; padding bool as source, True where to ignore."""
        steps = target.shape[1]
        causal = torch.triu(torch.full((steps, steps), float("-inf")), diagonal=1)
        y = self.transformer(
            *(self.source(source), self.target(target)),
            tgt_mask=causal,
            src_key_padding_mask=padding,
            memory_key_padding_mask=padding,
        )
        return self.head(y)


class Denoiser(nn.Module):
    """Speech enhancement: an encoder, a scripted running gain with state, GRU, decoder."""

    def __init__(self, width: int = 48) -> None:
        super().__init__()
        self.encoder = nn.Conv1d(1, width, 16, stride=8)
        self.norm = nn.GroupNorm(1, width)
        self.gain = torch.jit.script(RunningGain(width))
        self.gru = nn.GRU(width, width, batch_first=True)
        self.mask = nn.Linear(width, width)
        self.decoder = nn.ConvTranspose1d(width, 1, 16, stride=8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[n, 1, samples] -> [n, 1, samples]."""
        latent = F.leaky_relu(self.encoder(x), 0.1)
        y = self.gain(self.norm(latent)).transpose(1, 2)
        mask = torch.sigmoid(self.mask(self.gru(y)[0])).transpose(1, 2)
        return self.decoder(latent * mask)


class RunningGain(nn.Module):
    """Normalises by the loudest channel; scripted, with a branch and a counter."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(width, 1))
        self.calls = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[n, width, steps] -> the same."""
        self.calls += 1
        loudest = x.abs().amax()
        if bool(loudest > 1.0):
            x = x / loudest
        return x * self.scale
