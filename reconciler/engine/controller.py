"""NetworkController: the one API that everything (command line, watch mode, Docker plugin) calls.

Nothing here prints, asks or exits: results are data, failures are the exceptions of ``reconciler.errors``.
"""
