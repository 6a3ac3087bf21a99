"""Words that the mask must know. English, as most system prompts are; others lose nothing but names kept."""

from __future__ import annotations


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


FUNCTION_WORDS = _words(
    """
    a about above after again all also always am an and any are aren't as at be because been before
    being below between both but by can cannot can't could did do does doesn't don't each either
    else even every few following for from had has have he her here him his how i i'm if in instead
    into is isn't it its it's just least let let's like make many may me might more most much must
    my never no nor not note now of on once one only or other our out over own per please same shall
    she should since so some such than that that's the their them then there there's these they this
    those through to too under unless until up upon us use very was we were what what's when where
    whether which while who whose why will with within without would yet you your you're you'll
    yours
    """
)
"""Words that are no names, however they are written."""

LABELS = _words(
    """
    account author brand build checksum client commit company current currently
    customer cutoff date dated day deployment edition effective employee env environment generated
    hash id issued last locale modified name named organisation organization owner product project
    prompt reference region release released rev revised revision session tenant time timestamp
    today today's updated user user's username v ver version
    """
)
"""Words that announce a value: what follows `version` or `customer` changes, and they come and go with it."""

GLUE = _words("as at for is of on the this since")
"""Words that stand between a label and its value, or before the label."""

PERSONA = (
    FUNCTION_WORDS
    | LABELS
    | _words(
        """
        agent ai app assistant bot application assist assisting assists based behalf called chat
        chatbot chatting created
    contact deployed department desk developed digital firm help helper helpful helping knowledge language
    large llm made model operated owned powered provided request run running see serve served serves serving
    speaking support supporting system talking team trained training virtual work working works
    """
    )
)
"""Words of sentences that say no more than who speaks, for whom, and when."""

MONTHS = _words(
    """
    january february march april may june july august september october november december jan feb
    mar apr jun jul aug sep sept oct nov dec
    """
)
"""Where a number stands beside them."""

CLOCK = _words("de am pm utc gmt cet cest est edt pst pdt mon tue wed thu fri sat sun")
"""Where a value stands beside them; `de` as in `5 de mayo de 2026`."""

DAYS = _words("monday tuesday wednesday thursday friday saturday sunday")

ANSWERS = _words("i no not yes never none")
"""Capitalised inside a sentence, though no sentence begins there."""

PARTICLES = _words("da de del der di du la of the van von")
"""Words inside a name: `Bank of Utrecht`."""

ABBREVIATIONS = _words("dr e.g etc i.e jr mr mrs ms prof rev sr st ver vs")
"""Their dot ends no sentence."""

KEPT_CAPITALS = _words(
    """
    ai api c cli csv css ddl faq gpu html http https java javascript json jsonl latex linux llm
    markdown ner nlp ocr pdf pos python qa regex rest rust sql tsv typescript unix url utf xml yaml
    afrikaans albanian amharic arabic armenian assamese azerbaijani basque belarusian bengali
    bosnian bulgarian burmese cantonese catalan chinese croatian czech danish dutch english estonian
    filipino finnish french galician georgian german greek gujarati hausa hebrew hindi hungarian
    icelandic igbo indonesian irish italian japanese javanese kannada kazakh khmer korean kurdish
    lao latin latvian lithuanian macedonian malay malayalam maltese mandarin marathi mongolian
    nepali norwegian oriya panjabi pashto persian polish portuguese punjabi romanian russian
    sanskrit serbian sindhi sinhala slovak slovenian somali spanish swahili swedish tagalog tamil
    telugu thai tibetan turkish ukrainian urdu uyghur uzbek vietnamese welsh xhosa yiddish yoruba
    zulu
    """
)
"""Formats and languages: written like names, but they say what the work is."""
