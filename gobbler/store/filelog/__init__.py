"""The commit log: a folder a partition, segments of blocks, one write a group.

layout     names and heads (pure)
files      the seam to the file system
handles    open files, a bounded number
recovery   reading blocks over damage (pure)
indexing   making a segment's index from its bytes
segment    one file of blocks and its index
partition  one sequence of ids: appending and rolling
memory     how many indexes are kept
retention  what may go
keeping    syncing, saving indexes, retention: the background
store      all partitions
"""
