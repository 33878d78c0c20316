"""The demo's programs. Each runs as a script; none imports anything of Leasehold, nor knows that it is watched.

They say what they did as JSON lines on stdout, so that the demo can check the outcome, and end when told on stdin.
"""
