"""The textbook: each recurrence on one page, forward and backward through time.

`rnn.py`, `lstm.py` and `gru.py` can each be read with nothing else open; `rnn.md`, `lstm.md` and `gru.md` derive every
line of their backward passes. README.md says in which order to read.

>>> from scratch.textbook import lstm
"""
