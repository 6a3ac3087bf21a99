"""Text that grows: stop words across any borders, and characters that are not whole yet."""

import itertools

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.router.core.sovereign.progress import UNFINISHED, Progress

# Characters of one to four bytes, the sign for unfinished ones among them, and few enough to meet often.
letters = "abé€😀" + UNFINISHED
stops = st.lists(st.text(letters, min_size=1, max_size=4), max_size=4)


def cut_at_first(text: str, stop: list[str]) -> str:
    """A text up to the stop word that is whole first, read one character after the other."""
    for end in range(len(text) + 1):
        met = [len(word) for word in stop if text[:end].endswith(word)]
        if met:
            return text[: end - max(met)]
    return text


@st.composite
def growing(draw: st.DrawFn) -> list[str]:
    """A text as a server sends it: ever more of its bytes, cut anywhere, even within a character."""
    raw = draw(st.text(letters, max_size=24)).encode()
    cuts = sorted(draw(st.lists(st.integers(0, len(raw)), max_size=12)))
    return [raw[:cut].decode("utf-8", "replace") for cut in (*cuts, len(raw))]


@given(growing(), stops)
@example(["ab", "abab"], ["ba", "abab"])
@example(["ab", "abé"], ["abé", "b"])
@example(["abé"], ["abé", "b"])
@example(["a\ufffd", "aé"], ["\ufffd"])
@example(["a\ufffda", "a\ufffdab"], ["ac"])
def test_the_pieces_are_the_text_up_to_the_first_stop_word_and_none_is_taken_back(
    texts: list[str], stop: list[str]
) -> None:
    progress, said = Progress(stop), ""
    whole = cut_at_first(texts[-1], stop)
    longest = max(map(len, stop), default=1)
    for index, text in enumerate(texts):
        said += progress.feed(text, final=index == len(texts) - 1)
        assert whole.startswith(said)
        assert progress.text == said
        # No more is held back than might be part of a stop word, and nothing for long.
        settled = text.rstrip(UNFINISHED)
        assert progress.stopped or len(said) >= len(settled) - (longest - 1)
    assert said == whole
    assert progress.stopped is (len(whole) < len(texts[-1]))


@given(st.text("ab", max_size=12), stops.filter(bool))
def test_one_character_at_a_time_is_as_good_as_all_at_once(text: str, stop: list[str]) -> None:
    slow, fast = Progress(stop), Progress(stop)
    said = [slow.feed(text[:end], final=end == len(text)) for end in range(len(text) + 1)]
    assert "".join(said) == fast.feed(text, final=True)


@pytest.mark.parametrize(
    ("stop", "texts", "pieces"),
    [
        ((), ["", "He", "Hello"], ["", "He", "llo"]),
        (("\n\n",), ["One\n", "One\nTwo\n\nThree"], ["One", "\nTwo"]),
        (("END",), ["So E", "So EN", "So ENd"], ["So ", "", "ENd"]),
        (("END",), ["So EN", "So EN"], ["So ", "EN"]),
        (("END",), ["END", "END and more"], ["", ""]),
        # The word that is whole first counts, and of two that end together the longer.
        (("late", "ear"), ["early late"], [""]),
        (("abc", "b"), ["ab", "abc"], ["a", ""]),
        (("abc", "b"), ["abc"], ["a"]),
        (("c", "bc"), ["abc"], ["a"]),
        (("<|a|>", "<|b|>"), ["x<", "x<|", "x<|b", "x<|b|>y"], ["x", "", "", ""]),
        # Half of a character is not let through, but the sign itself is if it is all there will be.
        ((), ["caf\ufffd", "café"], ["caf", "é"]),
        ((), ["caf\ufffd", "caf\ufffd"], ["caf", "\ufffd"]),
        (("\ufffd",), ["caf\ufffd", "café"], ["caf", "é"]),
        (("é!",), ["caf\ufffd", "café", "café!"], ["caf", "", ""]),
        # A server may take back what was held back.
        (("END",), ["So EN", "So ", "So EN"], ["So ", "", "EN"]),
        ((), [""], [""]),
    ],
)
def test_a_text_goes_through_piece_by_piece(
    stop: tuple[str, ...], texts: list[str], pieces: list[str]
) -> None:
    progress = Progress(stop)
    last = len(texts) - 1
    assert [progress.feed(text, final=index == last) for index, text in enumerate(texts)] == pieces


@pytest.mark.parametrize("changed", ["", "He", "Hallo", "hello you", " Hello"])
@pytest.mark.parametrize("final", [False, True])
def test_a_server_that_takes_back_what_was_let_through_is_an_error(changed: str, final: bool) -> None:
    progress = Progress(("\n",))
    assert progress.feed("Hello", final=False) == "Hello"
    with pytest.raises(ValueError, match="changed text"):
        progress.feed(changed, final=final)
    # What the application has is still known.
    assert progress.text == "Hello"


def test_after_a_stop_word_nothing_that_a_server_says_matters() -> None:
    progress = Progress(("END",))
    assert progress.feed("So END", final=False) == "So "
    assert [progress.feed(text, final=final) for text, final in (("x", False), ("", True))] == ["", ""]
    assert progress.stopped


@pytest.mark.parametrize("count", range(1, 5))
def test_every_way_to_cut_a_short_text_gives_the_same(count: int) -> None:
    text, stop = "a<|e<|end|>x", ("<|end|>", "<|e|>")
    for cuts in itertools.combinations(range(len(text) + 1), count):
        progress = Progress(stop)
        pieces = [progress.feed(text[:cut], final=False) for cut in cuts]
        pieces.append(progress.feed(text, final=True))
        assert "".join(pieces) == "a<|e", cuts
