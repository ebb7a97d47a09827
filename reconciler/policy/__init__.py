"""Who may reach whom, by policy: documents to resolved policies, and the answer for one packet.

Pure, and knows nothing of nftables: ``features/policy.py`` compiles what stands here into tables.
May import manifest and topology.
"""
