"""The commit log: a folder a partition, segments of blocks, one write a group.

layout     names and heads (pure)
files      the seam to the file system
recovery   reading a segment from its start, after a crash
segment    one file of blocks and its index
partition  one sequence of ids: appending and rolling
store      all partitions: opening, syncing, retention
"""
