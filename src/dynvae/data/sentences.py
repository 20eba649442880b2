"""English sentences for the built-in corpus, put together by a small grammar: as many as wanted, always the same."""

from __future__ import annotations

__all__ = ["sentence"]

import hashlib

# A kind of words a paragraph: its name, a colon, and the choices with commas between them.
_LEXICON = """
person: the baker, my uncle, the young doctor, our neighbour, the old sailor, her sister, the night porter,
    a tall stranger, the music teacher, their cousin, the judge, a quiet child, the gardener, his mother, the postman,
    the chess player

thing: the copper kettle, a blue umbrella, the garden gate, an empty jar, the wooden chair, a bunch of keys,
    the heavy box, a loaf of bread, the silver watch, a pair of gloves, the yellow lamp, an orange scarf,
    the paper map, a small mirror, the broken drum, a bag of sugar, the leather shoe, a jug of milk, the thick rope,
    a handful of coins

force: the river, the wind, the old clock, the train, the snow, a large dog, the choir, the engine, the fire,
    the crowd, the moon, a flock of geese, the tide, the market, the road, the thunder

did: found, carried, painted, dropped, borrowed, washed, measured, hid, sold, repaired, wrapped, kept, lifted, chose,
    forgot, brought

moved: moved, turned, vanished, slowed down, grew louder, went by, came back, stopped, shook, passed, rose, waited,
    changed course, started again

place: behind the church, near the harbour, under the bridge, at the edge of the forest, in the narrow street,
    beside the kitchen window, on the third floor, across the valley, by the village school, outside the station,
    along the shore, above the roofs, between two hills, in the far corner

time: before dawn, last Thursday, in early March, after the storm, at half past four, during the long winter,
    every year, while it rained, just in time, for nearly an hour, a week ago, once again, as usual, without a sound

how: quite slowly, with great care, very cheaply, by mistake, in a hurry, for a friend, without asking,
    with both hands, out of habit, against all advice, on purpose, for the first time

like: bright, rough, cold, smooth, fresh, heavy, strange, cheap, quiet, loose, thin, sharp, warm, useful, huge, dusty
"""

_PATTERNS = (
    "{person} {did} {thing} {place}.",
    "{person} {did} {thing} {how}.",
    "{force} {moved} {place} {time}.",
    "{time}, {person} {did} {thing}.",
    "why is {thing} so {like} and {like}?",
    "{person} said that {force} {moved} {time}.",
    "when {force} {moved}, {person} {did} {thing}.",
    "it was {like} {place}, and {force} {moved}.",
    "please put {thing} {place} and leave {thing} where it is.",
    "{thing} was {like}, but {person} kept it {time}.",
)


def _choices(lexicon: str) -> dict[str, list[str]]:
    paragraphs = (paragraph.partition(":") for paragraph in lexicon.strip().split("\n\n"))
    return {kind: [" ".join(choice.split()) for choice in text.split(",")] for kind, _, text in paragraphs}


_CHOICES = _choices(_LEXICON)


def sentence(number: int) -> str:
    """The sentence of this number, from 0; the first 400 all differ.

    The choices come from a hash and not from a random generator, whose stream a new version may change.

    Example:
        >>> sentence(1)
        'His mother borrowed a handful of coins in a hurry.'
    """
    digits = int.from_bytes(hashlib.sha512(f"no. {number}".encode()).digest())
    text = _PATTERNS[number % len(_PATTERNS)]
    while "{" in text:
        before, _, rest = text.partition("{")
        kind, _, after = rest.partition("}")
        digits, choice = divmod(digits, len(_CHOICES[kind]))
        text = before + _CHOICES[kind][choice] + after
    return text[0].upper() + text[1:]
