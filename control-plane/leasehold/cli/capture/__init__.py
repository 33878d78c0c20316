"""Transparent capture: which addresses (``addresses``), as which table (``ruleset``), put into the kernel (``nft``),
and seen to work (``probe``). ``commands`` is what an operator types.
"""
