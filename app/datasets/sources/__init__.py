"""Sources of datasets elsewhere: what they hold, and the worker's steps that bring it here.

It knows nothing of rows and examples: what was brought is handed on as an upload is.
"""
