"""The ChatSearch construction pipeline (Zhao et al., section 3.1), a stage a file.

Every stage reads records on disk and writes records on disk; what each one takes, does and gives is
told in ``docs/chatsearch-data.md``.
"""
