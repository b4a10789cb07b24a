"""Text to ids and back, the same way for SentencePiece `.model` files and `tokenizers` `tokenizer.json` files."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from pi0_ros.policy.errors import PolicyError
from pi0_ros.robot.files import read_bytes, read_text
from pi0_ros.robot.quoting import escape, quote

FILE_NAMES = ("tokenizer.json", "tokenizer.model", "paligemma_tokenizer.model", "spiece.model")
MAX_BYTES = 64 << 20
"""Bytes of a tokenizer's file; Gemma's have from 4 to 33 MB."""
GEMMA_VOCAB = 256000
LOC_TOKENS = tuple(f"<loc{i:04d}>" for i in range(1024))
SEG_TOKENS = tuple(f"<seg{i:03d}>" for i in range(128))


Result = TypeVar("Result")


class Tokenizer(Protocol):
    """What the policy needs of a tokenizer. Ids are ints; `encode` never adds BOS, EOS or padding."""

    @property
    def vocab_size(self) -> int: ...
    @property
    def pad(self) -> int: ...
    @property
    def bos(self) -> int: ...
    @property
    def eos(self) -> int: ...

    def restrict(self, vocab: int) -> None: ...
    def encode(self, text: str) -> list[int]: ...
    def decode(self, ids: Sequence[int]) -> str: ...


def _too_many(ids: int, vocab: int) -> PolicyError:
    return PolicyError(f"the tokenizer has {ids} ids, the network {vocab}; they do not belong together")


def _content(tokenizer: Tokenizer, ids: Sequence[int]) -> list[int]:
    """`ids` without padding, BOS and EOS."""
    skip = {tokenizer.pad, tokenizer.bos, tokenizer.eos}
    return [int(i) for i in ids if int(i) not in skip]


def guarded(name: str, what: str, work: Callable[[], Result]) -> Result:
    """What `work` returns. Raises PolicyError if a library fails in it, be it a panic that is no Exception."""
    try:
        return work()
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        raise PolicyError(f"{name}: cannot {what} ({escape(error)}); is it PaliGemma's, and whole?") from error


class JsonTokenizer:
    """A `tokenizers` tokenizer.json. Its own padding, truncation and templates are switched off."""

    def __init__(self, text: str, name: str = "tokenizer.json") -> None:
        from tokenizers import Tokenizer as Backend

        self._backend = guarded(name, "be read as a tokenizer.json", lambda: Backend.from_str(text))
        self._name = name
        self._backend.no_padding()
        self._backend.no_truncation()
        self._limit = sys.maxsize
        self.pad = self._special(name, 0, "<pad>")
        self.eos = self._special(name, 1, "<eos>", "</s>")
        self.bos = self._special(name, 2, "<bos>", "<s>")

    def _special(self, name: str, expected: int, *spellings: str) -> int:
        found = (self._backend.token_to_id(s) for s in spellings)
        token = next((i for i in found if i is not None), None)
        if token is None:
            raise PolicyError(f"{name}: no {spellings[0]} token (usually id {expected}); is it PaliGemma's?")
        return token

    @property
    def vocab_size(self) -> int:
        """Number of ids, of those that the network has after `restrict`."""
        return min(self._backend.get_vocab_size(), self._limit)

    def restrict(self, vocab: int) -> None:
        """Use the first `vocab` ids, those that the network has.

        PaliGemma's published tokenizer.json has a special `<image>` token behind the network's 257152 rows. Special
        tokens there are accepted, as prompts do not hold them. Raises PolicyError if an ordinary token is there.
        """
        special = {i for i, token in self._backend.get_added_tokens_decoder().items() if token.special}
        ordinary = [i for i in range(vocab, self._backend.get_vocab_size()) if i not in special]
        if ordinary:
            raise _too_many(self._backend.get_vocab_size(), vocab)
        self._limit = vocab

    def encode(self, text: str) -> list[int]:
        """Ids of `text`, without BOS. Raises PolicyError for a token that the network has no row for."""
        ids = self._ids(text)
        beyond = next((i for i in ids if i >= self._limit), None)
        if beyond is not None:
            raise PolicyError(
                f"the text holds {self._backend.id_to_token(beyond)!r}, a special token that the network has no row for; "
                "leave it out"
            )
        return ids

    def _ids(self, text: str) -> list[int]:
        return guarded(
            self._name,
            f"encode the text {quote(text)}",
            lambda: list(self._backend.encode(text, add_special_tokens=False).ids),
        )

    def decode(self, ids: Sequence[int]) -> str:
        """Text of `ids`; padding, BOS and EOS are left out."""
        wanted = _content(self, ids)
        return guarded(
            self._name, "decode an answer", lambda: str(self._backend.decode(wanted, skip_special_tokens=False))
        )

    def add_paligemma_tokens(self) -> None:
        """Append <loc0000>..<loc1023>, <seg000>..<seg127>: Gemma's 256000 entries become PaliGemma's 257152."""
        from tokenizers import AddedToken

        tokens = [AddedToken(t, normalized=False, special=False) for t in (*LOC_TOKENS, *SEG_TOKENS)]
        self._backend.add_tokens(tokens)


class SentencePieceTokenizer:
    """A SentencePiece `.model` file, such as openpi's paligemma_tokenizer.model."""

    def __init__(self, data: bytes, name: str = "tokenizer.model") -> None:
        from sentencepiece import SentencePieceProcessor

        self._name = name
        self._backend = guarded(
            name, "be read as a SentencePiece model", lambda: SentencePieceProcessor(model_proto=data)
        )
        if not data or not self._backend.vocab_size():
            raise PolicyError(f"{name}: cannot be read as a SentencePiece model: it has no pieces; copy it again")
        self.pad, self.bos, self.eos = (
            i if i >= 0 else d
            for i, d in ((self._backend.pad_id(), 0), (self._backend.bos_id(), 2), (self._backend.eos_id(), 1))
        )

    @property
    def vocab_size(self) -> int:
        """Number of ids."""
        return self._backend.vocab_size()

    def restrict(self, vocab: int) -> None:
        """Raises PolicyError if the network has fewer rows than there are ids."""
        if self.vocab_size > vocab:
            raise _too_many(self.vocab_size, vocab)

    def encode(self, text: str) -> list[int]:
        """Ids of `text`, without BOS. Raises PolicyError if the model cannot."""
        return guarded(self._name, f"encode the text {quote(text)}", lambda: list(self._backend.encode(text)))

    def decode(self, ids: Sequence[int]) -> str:
        """Text of `ids`; padding, BOS and EOS are left out."""
        wanted = _content(self, ids)
        return guarded(self._name, "decode an answer", lambda: str(self._backend.decode(wanted)))


def load_tokenizer(path: str | Path) -> JsonTokenizer | SentencePieceTokenizer:
    """Read a tokenizer file, or the one in a folder (`FILE_NAMES`, also under tokenizer/).

    A Gemma tokenizer.json of 256000 entries gets PaliGemma's <loc> and <seg> tokens appended.

    Raises: PolicyError naming the file, or the folder and the names looked for.
    """
    file = find_tokenizer(Path(path))
    if file.suffix == ".model":
        return SentencePieceTokenizer(read_bytes(file, MAX_BYTES, PolicyError), str(file))
    tokenizer = JsonTokenizer(read_text(file, MAX_BYTES, PolicyError), str(file))
    if tokenizer.vocab_size == GEMMA_VOCAB:
        tokenizer.add_paligemma_tokens()
    return tokenizer


def find_tokenizer(path: Path) -> Path:
    """The tokenizer file that `path` is or holds. Raises PolicyError naming what was looked for."""
    if path.is_file():
        return path
    for folder in (path, path / "tokenizer"):
        for name in FILE_NAMES:
            if (folder / name).is_file():
                return folder / name
    raise PolicyError(
        f"{path}: no tokenizer there ({', '.join(FILE_NAMES)}); π0 checkpoints come without one: give the path of "
        "PaliGemma's paligemma_tokenizer.model or tokenizer.json"
    )
