"""A catalogue under another pack: verdicts made anew of what was heard, and what that changes. No audio is touched.

Most windows of a catalogue reach no level of a pack: a columnar filter over the tables of scores leaves them out
(`selection`). What may make a finding, or was not checked, is decided as the server decides it, by the same code
(`deciding`), so that a rescored verdict is the one that `Decide` gives.
"""
