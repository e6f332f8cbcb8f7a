"""Speed, measured side by side: callboard, the bare limit, and the peers, in one run.

Start at ``__main__.py``; ``harness.py`` says how a figure comes about; each workload is one file.
"""
