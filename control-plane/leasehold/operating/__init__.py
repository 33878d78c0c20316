"""What an operator sees and does, whoever asks for it: the command line by itself, or the operator API.

``survey`` takes a picture, ``states`` says how things stand in it, ``explain`` and ``graph`` tell; ``deeds`` and
``rule_plan`` turn a wish into one of the protocol's transactions. Nothing here knows how it is shown.
"""
