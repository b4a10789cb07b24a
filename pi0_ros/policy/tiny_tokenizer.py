"""The small tokenizer of the project's own checkpoints: lossless, and one token per state number.

A Unigram model with byte fallback in the `tokenizers` format. Words carry their leading space ("▁touch"), as in
SentencePiece, so decoding gives back exactly the text that was encoded (only a literal "▁" comes back as a space).
Ids 0..3 are <pad>, <eos>, <bos>, <unk>, as in Gemma; the last 1024 are <loc0000>..<loc1023>, which also stand for
FAST ids.
The names of the special tokens are no added tokens: text that spells "<eos>" is encoded as letters.
"""

from __future__ import annotations

import json
from pathlib import Path

from pi0_ros.policy.tokenizer import LOC_TOKENS, JsonTokenizer

SPECIAL = ("<pad>", "<eos>", "<bos>", "<unk>")
STATE_NUMBERS = range(-1, 256)
HEADS = ("Task", "State", "Action", "Subtask")
_WORDS_TEXT = """
a about above across after again against all almost alone along already also always an and any apart are area arm arms
around as at away back backward bag ball banana base basket be bed bedroom before behind below bench beside best
between big bin black blanket block blocks blue board book both bottle bottom bowl box bread brown brush button by
cabinet can cap carefully carry cart case center chair chicken clean clear clockwise close closed cloth clothes coffee
cold color container cook corn corner counter cover cube cubes cup cups cut cutting dark desk detach diagonal dish
dishes dishwasher done door down drawer drawers drink drop dry each edge eight either empty end every fast fetch fill
find finger fingers finish first five flat flip floor fold food for fork forward four fourth fridge from front fruit
full gently get give glass go grab gray grasp green grey grip gripper hand handle hang hat head high hold home hook
hot in insert inside into is it item its jar keep kettle key kitchen knife knob lamp large last laundry lay leave left
leftmost lid lift light line living long look low lower machine make meat microwave middle milk mirror mix mobile move
mug napkin near next nine no not nothing object objects of off on one onto open opposite or orange other out outside
oven over pan paper part peg pen pencil pick picture piece pile pillow pin pink place plate plates plug point position
pot pour press pull purple push put quickly rack raise ready red refrigerator release remove return right rightmost
ring robot room rotate round salt sandwich scissors second see self seven shake shelf shirt short shut side sink sit
six slide slowly small sofa soft soup sponge spoon spread square stack stand start stay stop stove straight sugar
sweep switch table take tape tea ten that the their them then these they thing things third this those three through
tidy tie till to together tomato tool toothbrush top toss touch touching toward towards towel towels toy trash tray
triangle turn twice two unfold until up upper upright use vegetable vegetables wait wall wash water wet wheel where
which while white window wipe with wood work wrist yellow you zip
"""
_FIRST_WORDS_TEXT = """
all bring carry clean clear close detach done drop dry fetch fill flip fold get give go grab grasp grip hang hold
insert lift look lower mix move no nothing open pick place pour press pull push put raise release remove rotate stack
start stay stop sweep switch take the throw touch turn unfold use wait wash wipe yes
"""  # words that may open a text or follow "Subtask: ", if no space is left to carry
WORDS = _WORDS_TEXT.split()
FIRST_WORDS = _FIRST_WORDS_TEXT.split()
_NEVER = -1000.0


def build() -> JsonTokenizer:
    """The tokenizer, ready to use."""
    return JsonTokenizer(to_json(), "tiny tokenizer")


def save(path: str | Path) -> None:
    """Write it as a tokenizer.json."""
    Path(path).write_text(to_json(), encoding="utf-8")


def to_json() -> str:
    """Its tokenizer.json text; the same on every call."""
    vocab = [[piece, score] for piece, score in _pieces()]
    return json.dumps(
        {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": [],
            "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
            "pre_tokenizer": None,
            "post_processor": None,
            "decoder": {
                "type": "Sequence",
                "decoders": [
                    {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
                    {"type": "ByteFallback"},
                    {"type": "Fuse"},
                ],
            },
            "model": {"type": "Unigram", "unk_id": 3, "vocab": vocab, "byte_fallback": True},
        },
        ensure_ascii=False,
        indent=0,
    )


def _pieces() -> list[tuple[str, float]]:
    """Pieces with log-probabilities, in the order of their ids; special and byte pieces never match text."""
    never = [*SPECIAL, *(f"<0x{b:02X}>" for b in range(256) if not 0x20 <= b < 0x7F and b != 0x0A)]
    letters = ["▁", "\n", *(chr(c) for c in range(0x21, 0x7F))]
    words = [f"▁{w}" for w in WORDS] + FIRST_WORDS
    heads = [*HEADS, *(f"▁{h}" for h in HEADS)]
    numbers = [f"▁{n}" for n in STATE_NUMBERS]
    return [
        *((p, _NEVER) for p in never[: len(SPECIAL)]),
        *((p, -2.0) for p in numbers),
        *((p, -5.0) for p in letters),
        *((p, -4.0) for p in (*heads, *words)),
        *((p, _NEVER) for p in never[len(SPECIAL) :]),
        *((p, -2.0) for p in LOC_TOKENS),
    ]
