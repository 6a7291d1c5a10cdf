"""Mutation run: does a test notice each small change to the code that decides what is granted?

One command, from the root of a checkout; it needs the package ``mutmut`` and takes about a quarter of an hour on one core::

    nice python -m tests.mutation                    # all modules; a run that was stopped goes on where it was
    nice python -m tests.mutation s3 location        # some of them
    nice python -m tests.mutation --show 3f2a91c0    # one mutant as a diff

Of ``mutmut`` only the mutations are taken. Its own runner leaves alone what stands outside of functions, and here that is
the tables of actions, the patterns of names and the limits. Each mutant lives in the memory of a forked process alone:
nothing in the tree is changed, and no copy of it is made. There the unit tests and the properties of that module run, with
fewer examples, and always the same ones, until one fails.

``build/mutation.jsonl`` keeps what was found. A mutant that was killed stays so; one that survived is tried again once a
test has changed. Each survivor has to stand in ``survivors.md``, with the reason why no test can, or should, tell it from
the code. The run ends with exit code 1 for one that does not, and for an entry there that no survivor has.

Left out are mutants of the wording: the text of an error, where it is only spelled another way. What is in it (the
location, the size, the rule) is no wording, and counts.
"""
