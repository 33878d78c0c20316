"""Calling owners: ``outcome`` says what their answers mean, ``guard`` when they may be called, ``http`` calls them.

``outcome`` and ``guard`` are pure; ``http`` is the only adapter yet.
"""
