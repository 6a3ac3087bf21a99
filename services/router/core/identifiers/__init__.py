"""Where a text has identifiers of a person: one function a kind, from text to spans. Pure.

Each looks for a shape and then checks what the shape promises: check digits, ranges, a word that says what a
number is. Time is linear in the text whatever it says: every pattern takes a bounded number of characters,
begins with one that is rare in prose, and is searched only where there are digits.

Names of people have no shape: `names` tells them by a small model over words and what stands around them.

Texts are expected as `detectors.find` makes them: digits, dashes and spaces in ASCII.
"""
